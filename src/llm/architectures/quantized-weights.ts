/** Weights of linear modules in 8 or 4 bits: how they are rounded, how they lie in the prepared base, and their product. */
import { must } from "../../core/base/errors.ts";
import { tensor } from "../../core/base/tensor.ts";
import type { Tensor } from "../../core/base/tensor.ts";
import type { TensorDeclaration } from "../../core/formats/safetensors-header.ts";
import { BYTE_LIMIT, byteZero, type ByteDType } from "../../engine/graph/byte-weights.ts";
import type { GraphBuilder } from "../../engine/graph/builder.ts";
import { INT4_BLOCK, int4MatMul, quantizedMatMul, roundedLinearCrossEntropy } from "../../engine/graph/operations.ts";
import type { Value } from "../../engine/graph/value.ts";
import type { BaseTensor, LinearModule } from "./sites.ts";

type Layout = LinearModule["layout"];

/** A tensor of the prepared base that is held rounded. */
export interface RoundedTensor {
  readonly base: BaseTensor;
  readonly layout: Layout;
}

/** One way of rounding weights. */
interface Rounding {
  /** Whether a weight can be held so. */
  fits(base: BaseTensor): boolean;
  /** Names, dtypes and shapes of what stands for a weight in the prepared base. */
  declare(rounded: RoundedTensor): readonly TensorDeclaration[];
  /** Their values, in that order. */
  round(rounded: RoundedTensor, values: Float32Array): readonly Tensor[];
  /** x `[…, in]` times the weight: `[…, out]`. */
  product(builder: GraphBuilder, rounded: RoundedTensor, x: Value): Value;
}

/** Sizes `[in, out]` of a weight as its product takes it. */
function sizesOf({ base: { shape: [rows = 0, columns = 0] }, layout }: RoundedTensor): { readonly k: number; readonly n: number } {
  return layout === "out_in" ? { k: columns, n: rows } : { k: rows, n: columns };
}

/** Each output by its own scale, largest magnitude / 127 (Dettmers et al. 2022, section 3.1); both layouts, as integer products have no transposed form. */
function inBytes(dtype: ByteDType): Rounding {
  const zero = byteZero(dtype);
  const bytes = (count: number): Int8Array | Uint8Array => (dtype === "uint8" ? new Uint8Array(count).fill(zero) : new Int8Array(count));
  const rounding: Rounding = {
    fits: () => true,
    declare(rounded) {
      const { k, n } = sizesOf(rounded);
      const { name } = rounded.base;
      return [{ name: `${name} ${dtype}`, dtype, shape: [k, n] }, { name: `${name} ${dtype} transposed`, dtype, shape: [n, k] }, { name: `${name} ${dtype} scales`, dtype: "float32", shape: [n] }];
    },
    round(rounded, values) {
      const { k, n } = sizesOf(rounded);
      const [outStride, inStride] = rounded.layout === "out_in" ? [k, 1] : [1, n];
      const [byInput, byOutput, scales] = [bytes(k * n), bytes(k * n), new Float32Array(n)];
      for (let o = 0; o < n; o++) {
        let largest = 0;
        for (let i = 0; i < k; i++) largest = Math.max(largest, Math.abs(values[o * outStride + i * inStride] ?? 0));
        const scale = largest / BYTE_LIMIT;
        scales[o] = scale;
        for (let i = 0; i < k && scale > 0; i++) {
          const q = Math.round((values[o * outStride + i * inStride] ?? 0) / scale) + zero;
          byInput[i * n + o] = q;
          byOutput[o * k + i] = q;
        }
      }
      return [tensor(dtype, [k, n], byInput), tensor(dtype, [n, k], byOutput), tensor("float32", [n], scales)];
    },
    product(builder, rounded, x) {
      const [weight, transposed, scales] = weightsOf(builder, rounding.declare(rounded));
      return quantizedMatMul(x, { weight, transposed, scales });
    },
  };
  return rounding;
}

/** What the value of largest magnitude is divided by to try scales of a block: −8 uses all sixteen numbers, smaller ones cut the largest off. */
const INT4_DIVISORS = [-8, 8, -7.5, 7.5, 7, -7, -8.5, 8.5, -9, 9, -10] as const;

const nearest4 = (x: number): number => Math.max(-8, Math.min(7, Math.round(x)));

/** The scale under which a block of values keeps most: the least squared error of those tried. */
function blockScale(values: Float32Array): number {
  let peak = 0;
  for (const x of values) if (Math.abs(x) > Math.abs(peak)) peak = x;
  if (peak === 0) return 0;
  let [best, least] = [peak / 7, Infinity];
  for (const divisor of INT4_DIVISORS) {
    const scale = Math.fround(peak / divisor);
    let error = 0;
    for (const x of values) error += (x - scale * nearest4(x / scale)) ** 2;
    if (error < least) [best, least] = [scale, error];
  }
  return best;
}

/** Blocks of 32 along the rows that the checkpoint has, each by its own scale; two elements a byte. */
const int4: Rounding = {
  fits: ({ shape }) => (shape[1] ?? 0) % INT4_BLOCK === 0,
  declare: ({ base: { name, shape: [rows = 0, columns = 0] } }) => [
    { name: `${name} int4`, dtype: "uint8", shape: [rows, columns / 2] },
    { name: `${name} int4 scales`, dtype: "float32", shape: [rows, columns / INT4_BLOCK] },
  ],
  round({ base: { shape: [rows = 0, columns = 0] } }, values) {
    const blocks = (rows * columns) / INT4_BLOCK;
    const [data, scales] = [new Uint8Array((rows * columns) / 2), new Float32Array(blocks)];
    for (let block = 0; block < blocks; block++) {
      const start = block * INT4_BLOCK;
      const scale = blockScale(values.subarray(start, start + INT4_BLOCK));
      scales[block] = scale;
      const stored = (i: number): number => (scale === 0 ? 8 : nearest4((values[i] ?? 0) / scale) + 8);
      for (let i = start; i < start + INT4_BLOCK; i += 2) data[i >> 1] = stored(i) | (stored(i + 1) << 4);
    }
    return [tensor("uint8", [rows, columns / 2], data), tensor("float32", [rows, columns / INT4_BLOCK], scales)];
  },
  product(builder, rounded, x) {
    const [data, scales] = weightsOf(builder, int4.declare(rounded));
    return int4MatMul(x, data, scales, { transB: rounded.layout === "out_in" });
  },
};

/** The declared tensors as weights of a graph; as many as there are names on the left. */
function weightsOf(builder: GraphBuilder, declarations: readonly TensorDeclaration[]): readonly [Value, Value, Value] {
  // Declarations have two or three entries and each rounding takes as many as its own has.
  return declarations.map(({ name, dtype, shape }) => builder.weight(name, dtype, shape)) as unknown as readonly [Value, Value, Value];
}

const ROUNDINGS = { int8: inBytes("int8"), uint8: inBytes("uint8"), int4 } as const;
/** Precisions that a base can be asked for in. */
export const BASE_PRECISIONS = ["float32", "int8", "int4"] as const;
export type BasePrecision = (typeof BASE_PRECISIONS)[number];
/** What a base is held in. 8 bits are signed, or unsigned about 128 where products with signed ones saturate: the same numbers. */
export const HELD_PRECISIONS = ["float32", "int8", "uint8", "int4"] as const;
export type HeldPrecision = (typeof HELD_PRECISIONS)[number];

/** The dtype of 8-bit weights of a precision; undefined where it has none. */
export function byteDType(precision: HeldPrecision): ByteDType | undefined {
  return precision === "int8" || precision === "uint8" ? precision : undefined;
}

/** Which tensors of a base are held rounded, by name, and how. */
export interface RoundedBase {
  readonly precision: keyof typeof ROUNDINGS;
  /** The output embedding, rounded for the loss beside itself; undefined where the loss takes it as it is. */
  readonly head: BaseTensor | undefined;
  readonly tensors: ReadonlyMap<string, RoundedTensor>;
}

/** What decides which tensors are rounded. */
interface Model {
  readonly tensors: readonly BaseTensor[];
  readonly linears: readonly LinearModule[];
  readonly tied: ReadonlyMap<string, string>;
  readonly head: { readonly path: string };
}

/** The tensors that a precision rounds: weights of linear modules that fit, and in 8 bits a copy of the output embedding. Undefined for float32. */
export function roundedBase({ tensors, linears, tied, head }: Model, precision: HeldPrecision): RoundedBase | undefined {
  if (precision === "float32") return undefined;
  const layouts = new Map(linears.filter(({ isHead }) => !isHead).map((l) => [l.weight, l.layout]));
  const headName = tied.get(`${head.path}.weight`) ?? `${head.path}.weight`;
  return {
    precision,
    head: byteDType(precision) !== undefined ? tensors.find(({ name }) => name === headName) : undefined,
    tensors: new Map(tensors.flatMap((base): [string, RoundedTensor][] => {
      const layout = layouts.get(base.parts[0]?.name ?? "");
      return layout === undefined || !ROUNDINGS[precision].fits(base) ? [] : [[base.name, { base, layout }]];
    })),
  };
}

/** What stands for a rounded tensor in the prepared base. */
export function declareRounded(precision: RoundedBase["precision"], rounded: RoundedTensor): readonly TensorDeclaration[] {
  return ROUNDINGS[precision].declare(rounded);
}

/** The values of what `declareRounded` declares. */
export function roundWeight(precision: RoundedBase["precision"], rounded: RoundedTensor, values: Float32Array): readonly Tensor[] {
  return ROUNDINGS[precision].round(rounded, values);
}

/** x `[…, in]` times a tensor of the prepared base, `[…, out]`; undefined where it is not held rounded. */
export function roundedProduct(builder: GraphBuilder, base: RoundedBase | undefined, name: string, x: Value): Value | undefined {
  const rounded = base?.tensors.get(name);
  return base === undefined || rounded === undefined ? undefined : ROUNDINGS[base.precision].product(builder, rounded, x);
}

/** What stands for the output embedding `[V, D]` in the loss: one rounding for the logits, by token, one for the way back, by element. */
export function declareHead(precision: RoundedBase["precision"], { name, shape: [v = 0, d = 0] }: BaseTensor): readonly TensorDeclaration[] {
  const dtype = must(byteDType(precision), "8 bits");
  return [
    { name: `${name} ${dtype} head`, dtype, shape: [d, v] }, { name: `${name} ${dtype} head scales`, dtype: "float32", shape: [v] },
    { name: `${name} ${dtype} head back`, dtype, shape: [v, d] }, { name: `${name} ${dtype} head back scales`, dtype: "float32", shape: [d] },
  ];
}

/** The values of what `declareHead` declares. */
export function roundHead(precision: RoundedBase["precision"], base: BaseTensor, values: Float32Array): readonly Tensor[] {
  const [forward, , scales] = ROUNDINGS[precision].round({ base, layout: "out_in" }, values);
  const [back, , backScales] = ROUNDINGS[precision].round({ base, layout: "in_out" }, values);
  return [must(forward, "head"), must(scales, "scales"), must(back, "head"), must(backScales, "scales")];
}

/** Losses of hidden rows by the rounded output embedding; undefined where the base has none. */
export function roundedLoss(builder: GraphBuilder, base: RoundedBase | undefined, rows: { readonly hidden: Value; readonly targets: Value }, pieces: Parameters<typeof roundedLinearCrossEntropy>[3]): Value | undefined {
  if (base?.head === undefined) return undefined;
  const values = declareHead(base.precision, base.head).map(({ name, dtype, shape }) => builder.weight(name, dtype, shape));
  const part = (i: number): Value => must(values[i], "part of the head");
  return roundedLinearCrossEntropy(rows.hidden, { weight: part(0), scales: part(1), back: part(2), backScales: part(3) }, rows.targets, pieces);
}
