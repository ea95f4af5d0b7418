/** The record of all ops: total, so that an op without a value, a gradient or a reference does not compile. */
import type { OpAttributes, OpName } from "../op-attributes.ts";
import * as activation from "./activation.ts";
import * as elementwise from "./elementwise.ts";
import { Gather, GatherRows, ScatterRows } from "./indexing.ts";
import { Concat, Expand, Reshape, Split, Transpose } from "./layout.ts";
import { MatMul } from "./linear.ts";
import { CrossEntropy, LinearCrossEntropy, RoundedLinearCrossEntropy } from "./loss.ts";
import { LayerNorm, RmsNorm, RotaryEmbedding, Softmax } from "./normalisation.ts";
import { Int4MatMul, QuantizedMatMul } from "./quantized.ts";
import { ReduceMax, ReduceMean, ReduceSum } from "./reduce.ts";
import type { OpRecord } from "./record.ts";
import { SoftmaxProduct } from "./softmax-product.ts";

const { Sigmoid, Silu, Tanh, Erf, Relu, Gelu } = activation;
const { Add, Sub, Mul, Div, Neg, Exp, Log, Sqrt, Sin, Cos, Min, Max, Where, Equal, LessOrEqual, And, Or, Not, IsFinite, StopGradient, Cast, Dropout } = elementwise;

export const OPS: { readonly [K in OpName]: OpRecord<OpAttributes[K]> } = {
  Add, Sub, Mul, Div, Neg, Exp, Log, Sqrt, Sin, Cos, Sigmoid, Silu, Tanh, Erf, Relu, Gelu,
  Min, Max, Where, Equal, LessOrEqual, And, Or, Not, IsFinite, StopGradient, Cast, Dropout,
  MatMul, QuantizedMatMul, Int4MatMul, Reshape, Transpose, Expand, Split, Concat, ReduceSum, ReduceMean, ReduceMax, Gather, GatherRows, ScatterRows,
  Softmax, SoftmaxProduct, RmsNorm, LayerNorm, RotaryEmbedding, CrossEntropy, LinearCrossEntropy, RoundedLinearCrossEntropy,
};
