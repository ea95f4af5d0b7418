/** What onnxruntime's own profile says of one run of a graph. */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { z } from "zod";
import type { Graph } from "../../src/engine/graph/types.ts";
import { openSession, type Feeds } from "../../src/engine/runtime/onnx-session.ts";

/** A node that ran, and the bytes of values that were alive after it. */
const nodeSchema = z.object({ args: z.object({ op_name: z.string(), mem_bytes_requested_in_use: z.coerce.number() }) }).transform(({ args }) => ({ op: args.op_name, bytesAlive: args.mem_bytes_requested_in_use }));

/** Runs a graph once, on one thread; the nodes that onnxruntime ran, each with the bytes alive after it. */
export async function profileOf(graph: Graph, feeds: Feeds): Promise<readonly z.infer<typeof nodeSchema>[]> {
  const folder = mkdtempSync(join(tmpdir(), "fedtune-profile-"));
  try {
    {
      using session = await openSession(graph, { threads: 1, profile: join(folder, "profile") });
      await session.run(feeds);
    }
    const [file = ""] = readdirSync(folder);
    const events = z.array(z.looseObject({ name: z.string() })).parse(JSON.parse(readFileSync(join(folder, file), "utf8")));
    return events.filter(({ name }) => name.endsWith("_kernel_time")).map((event) => nodeSchema.parse(event));
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** Most bytes of values alive at once. */
export const peakAlive = async (graph: Graph, feeds: Feeds): Promise<number> => (await profileOf(graph, feeds)).reduce((most, { bytesAlive }) => Math.max(most, bytesAlive), 0);
