/** The thread of a replica: opens a session and answers one run after another. Started by replica.ts. */
import { parentPort, workerData } from "node:worker_threads";
import { InferenceSession } from "onnxruntime-node";
import { must } from "../../core/base/errors.ts";
import type { EncodedSession } from "./onnx-session.ts";
import type { ReplicaReply, ReplicaRequest } from "./replica-protocol.ts";
import { fromOrt, toOrtFeeds } from "./resident.ts";

// replica.ts starts this file with exactly this shape.
const encoded = workerData as EncodedSession;
const weights = toOrtFeeds(encoded.weights, "weight");
const port = must(parentPort, "parent port");
const reply = (message: ReplicaReply): void => port.postMessage(message);
const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

async function answer(session: InferenceSession, { id, feeds }: Exclude<ReplicaRequest, "close">): Promise<void> {
  try {
    const results = await session.run({ ...weights, ...toOrtFeeds(feeds, "replica: input") });
    reply({ id, outputs: Object.fromEntries(Object.entries(results).map(([name, result]) => [name, fromOrt(result, "cpu")])) });
  } catch (error) {
    reply({ id, error: messageOf(error) });
  }
}

try {
  const session = await InferenceSession.create(encoded.model, encoded.options);
  let last: Promise<void> = Promise.resolve();
  port.on("message", (request: ReplicaRequest) => {
    last = request === "close" ? last.then(() => session.release()).then(() => port.close()) : last.then(() => answer(session, request));
  });
  reply({ id: -1, outputs: {} });
} catch (error) {
  port.on("message", () => port.close());
  reply({ id: -1, error: messageOf(error) });
}
