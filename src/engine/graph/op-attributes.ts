/** The attributes of every op; the keys of this record are the ops that exist. */
import type { DType } from "../../core/base/tensor.ts";
import type { Dim } from "./dims.ts";

type None = Readonly<Record<never, never>>;

export interface OpAttributes {
  readonly Add: None;
  readonly Sub: None;
  readonly Mul: None;
  readonly Div: None;
  readonly Neg: None;
  readonly Exp: None;
  readonly Log: None;
  readonly Sqrt: None;
  readonly Sin: None;
  readonly Cos: None;
  readonly Sigmoid: None;
  readonly Silu: None;
  readonly Tanh: None;
  /** 2/√π ∫₀ˣ exp(−t²) dt. */
  readonly Erf: None;
  readonly Relu: None;
  /** x · Φ(x), or its approximation by a hyperbolic tangent (Hendrycks and Gimpel 2016, section 2). */
  readonly Gelu: { readonly approximate: "none" | "tanh" };
  readonly Min: None;
  readonly Max: None;
  readonly Where: None;
  readonly Equal: None;
  readonly LessOrEqual: None;
  readonly And: None;
  readonly Or: None;
  readonly Not: None;
  /** 1 where finite, 0 where NaN or infinite; bool. */
  readonly IsFinite: None;
  /** The same value; no gradient flows back through it. */
  readonly StopGradient: None;
  readonly Cast: { readonly to: DType };
  /** Scales what `mask` keeps by 1 / (1 − p). */
  readonly Dropout: { readonly p: number };
  /** alpha · op(A) op(B), op transposing the last two axes; leading axes broadcast. */
  readonly MatMul: { readonly transA: boolean; readonly transB: boolean; readonly alpha: number };
  /** A product with an 8-bit weight, given in both layouts; rows are rounded at run time. */
  readonly QuantizedMatMul: None;
  /** A product with a 4-bit weight, dequantised for it in blocks. */
  readonly Int4MatMul: { readonly transB: boolean };
  readonly Reshape: { readonly shape: readonly Dim[] };
  readonly Transpose: { readonly permutation: readonly number[] };
  readonly Expand: { readonly shape: readonly Dim[] };
  /** Sizes that are symbolic are taken on trust to add up to the axis. */
  readonly Split: { readonly axis: number; readonly sizes: readonly Dim[] };
  /** `size` names the joined dimension; needed only where it is symbolic. */
  readonly Concat: { readonly axis: number; readonly size?: string };
  readonly ReduceSum: { readonly axes: readonly number[] };
  readonly ReduceMean: { readonly axes: readonly number[] };
  readonly ReduceMax: { readonly axes: readonly number[] };
  /** Rows of a table by index: `[V, …]`, `[…]` → `[…, …]`. */
  readonly Gather: None;
  /** Rows of each client: `[C, N, D]`, `[C, L]` → `[C, L, D]`. */
  readonly GatherRows: None;
  /** The reverse: `[C, L, D]` added into zeros `[C, N, D]` at rows `[C, L]`. */
  readonly ScatterRows: { readonly rows: Dim };
  readonly Softmax: None;
  /** softmax(scores) · values, the softmax over the last axis of the scores. */
  readonly SoftmaxProduct: None;
  /** Root-mean-square norm over the last axis (Zhang and Sennrich 2019, eq. 4). */
  readonly RmsNorm: { readonly epsilon: number };
  /** Layer norm over the last axis (Ba, Kiros and Hinton 2016, eq. 4). */
  readonly LayerNorm: { readonly epsilon: number };
  /** Rotates pairs (i, i + E/2) of each head (Su et al. 2021, eq. 34, in the half-split layout of Hugging Face). */
  readonly RotaryEmbedding: { readonly inverse: boolean };
  /** Negative log-likelihood of targets under the softmax of logits. */
  readonly CrossEntropy: None;
  /**
   * The same for logits = hidden · weightᵀ, in `chunks` pieces of rows so that `[rows, V]` never exists whole. Where
   * `softCap` is not 0, the logits are softCap · tanh(hidden · weightᵀ / softCap) (Gemma Team 2024, section 2).
   */
  readonly LinearCrossEntropy: { readonly chunks: number; readonly minimumRows: number; readonly softCap: number };
  /** The same with an output embedding in 8 bits. */
  readonly RoundedLinearCrossEntropy: { readonly chunks: number; readonly minimumRows: number; readonly softCap: number };
}

export type OpName = keyof OpAttributes;
