/** The engine's public API: graphs as data, their gradients, and the runtimes that evaluate them. */
export { GraphBuilder } from "./graph/builder.ts";
export * as operations from "./graph/operations.ts";
export { encodeOnnx } from "./graph/onnx/encode.ts";
export { hashGraph, printGraph } from "./graph/print.ts";
export type { Graph } from "./graph/types.ts";
export type { Value } from "./graph/value.ts";
export { verifyGraph } from "./graph/verify.ts";
export { gradient } from "./passes/gradient.ts";
export { recompute } from "./passes/recompute.ts";
export { optimizerGraph } from "./passes/optimizers.ts";
export { flushDenormals } from "./runtime/denormals.ts";
export { openSession } from "./runtime/onnx-session.ts";
export type { Session } from "./runtime/onnx-session.ts";
export { evaluateReference, toReference } from "./runtime/reference.ts";
