import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import { flushesDenormals } from "./denormals.ts";

/** In a process of its own: the mode is set once in each. */
async function inFreshProcess(program: string): Promise<unknown> {
  const { stdout } = await promisify(execFile)(process.execPath, ["--input-type=module", "--eval", program], { cwd: import.meta.dirname });
  return JSON.parse(stdout);
}

const MODULES = ["denormals.ts", "onnx-session.ts", "../graph/builder.ts", "../graph/operations.ts"].map((file) => new URL(file, import.meta.url).href);
const SETUP = `
  const [{ flushDenormals, flushesDenormals }, { openSession }, { GraphBuilder }, g] = await Promise.all(${JSON.stringify(MODULES)}.map((url) => import(url)));
  const { Worker } = await import("node:worker_threads");
  const SIZE = 1 << 20;
  const halves = async () => {
    const builder = new GraphBuilder();
    builder.output("y", g.mul(builder.input("x", "float32", [SIZE]), 0.5));
    using session = await openSession(builder.finish(), { threads: 2 });
    const { y } = await session.run({ x: { dtype: "float32", shape: [SIZE], data: new Float32Array(SIZE).fill(2e-38) } });
    return y.data.filter((half) => half !== 0).length;
  };`;

test("a library leaves the mode of its caller's thread as it is", () => {
  expect(flushesDenormals()).toBe(false);
});

test("asked for, denormals are zero in the thread, in those started later and in every thread of a session", async () => {
  const seen = await inFreshProcess(`${SETUP}
    const done = await flushDenormals();
    const inWorker = await new Promise((resolve) => new Worker("import { parentPort } from 'node:worker_threads'; const a = Float64Array.of(Number.MIN_VALUE, 1); parentPort.postMessage(a[0] * a[1] === 0)", { eval: true }).on("message", resolve));
    console.log(JSON.stringify({ done, here: flushesDenormals(), again: await flushDenormals(), inWorker, left: await halves() }));`);
  expect(seen).toEqual({ done: true, here: true, again: true, inWorker: true, left: 0 });
});

test("not asked for, or asked for after another session was opened, denormals stay what they are", async () => {
  const seen = await inFreshProcess(`${SETUP}
    const before = await halves();
    console.log(JSON.stringify({ before, done: await flushDenormals(), after: await halves() }));`);
  expect(seen).toEqual({ before: 1_048_576, done: false, after: 1_048_576 });
});
