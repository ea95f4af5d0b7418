/** The worker thread of a trainer: answers one call after another. Started by trainer.ts. */
import { parentPort, workerData } from "node:worker_threads";
import { FedtuneError, must, unreachable } from "../../core/base/errors.ts";
import { createLocalTrainer } from "./local-trainer.ts";
import type { ErrorData, WorkerData, WorkerReply, WorkerRequest } from "./rpc.ts";
import type { Trainer } from "./types.ts";

// trainer.ts starts this file with exactly this shape.
const { setup, stop } = workerData as WorkerData;
const port = must(parentPort, "parent port");
const reply = (message: WorkerReply): void => port.postMessage(message);

function describe(error: unknown): ErrorData {
  if (!(error instanceof Error)) return { message: String(error), stack: undefined, code: undefined, details: {} };
  const known = error instanceof FedtuneError;
  // Details are facts for a machine; what cannot be copied between threads is left out.
  return { message: error.message, stack: error.stack, code: known ? error.code : undefined, details: known ? (JSON.parse(JSON.stringify(error.details)) as Record<string, unknown>) : {} };
}

async function answer(trainer: Trainer, request: WorkerRequest): Promise<unknown> {
  const { id } = request;
  switch (request.name) {
    case "initialAdapter":
      return trainer.initialAdapter();
    case "savedAdapter":
      return trainer.savedAdapter(request.input);
    case "train":
      return trainer.train(request.input, { onStep: (report) => reply({ kind: "step", id, report }) });
    case "evaluate":
      return trainer.evaluate(request.input, {});
    case "score":
      return trainer.score(request.input, { onScored: (done) => reply({ kind: "scored", id, done }) });
    case "generate":
      return trainer.generate(request.input, { onToken: (row, token) => reply({ kind: "token", id, row, token }) });
    case "grow":
      return trainer.grow(request.input, {});
    case "close":
      await trainer[Symbol.asyncDispose]();
      return port.close();
    default:
      return unreachable(request, "worker request");
  }
}

try {
  const trainer = await createLocalTrainer(setup, () => Atomics.load(stop, 0) !== 0);
  port.on("message", (request: WorkerRequest) => {
    answer(trainer, request).then(
      (output) => reply({ kind: "result", id: request.id, output }),
      (error: unknown) => reply({ kind: "error", id: request.id, error: describe(error) }),
    );
  });
  reply({ kind: "ready" });
} catch (error) {
  reply({ kind: "error", id: -1, error: describe(error) });
}
