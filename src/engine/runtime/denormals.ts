/**
 * Numbers too small for a full mantissa (below 1e-38 in float32, "denormals"). Processors take over a hundred cycles for each group
 * that one of them is in: softmax makes them of what a mask hides, and products that read them take up to a hundred times as long
 * (LOG.md). Whether they count as zero instead is a mode of each thread, which threads started by it inherit.
 */
import { InferenceSession } from "onnxruntime-node";
import { tensor } from "../../core/base/tensor.ts";
import { GraphBuilder } from "../graph/builder.ts";
import { encodeOnnx } from "../graph/onnx/encode.ts";
import { neg } from "../graph/operations.ts";

/** The smallest float64 and a factor, where no compiler sees them. */
const numbers = Float64Array.of(Number.MIN_VALUE, 1);

/** Whether the calling thread takes denormals for zero. */
export function flushesDenormals(): boolean {
  return (numbers[0] ?? 0) * (numbers[1] ?? 0) === 0;
}

/**
 * Makes the calling thread take denormals for zero, float64 ones of JavaScript too, and with it all threads that it starts from now
 * on. For a program that owns its process, before anything else opens a session: onnxruntime sets the mode once in a process.
 * Returns whether it does now.
 */
export async function flushDenormals(): Promise<boolean> {
  if (flushesDenormals()) return true;
  const builder = new GraphBuilder();
  builder.output("y", neg(builder.constant(tensor("float32", [1], Float32Array.of(0)))));
  const model = encodeOnnx(builder.finish(), (name) => {
    throw new Error(`no weight is called ${name}`);
  });
  const session = await InferenceSession.create(model, { intraOpNumThreads: 1, interOpNumThreads: 1, extra: { session: { set_denormal_as_zero: "1" } } });
  await session.release();
  return flushesDenormals();
}
