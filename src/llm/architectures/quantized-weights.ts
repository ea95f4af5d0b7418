/** Weights of linear modules in 8 or 4 bits: which are rounded, how they lie in the prepared base, and their product. */
import { must } from "../../core/base/errors.ts";
import { zeros } from "../../core/base/tensor.ts";
import type { TensorDeclaration } from "../../core/formats/safetensors-header.ts";
import type { SafetensorsWriter } from "../../core/formats/safetensors-writer.ts";
import { byteZero, vocabularyBlocks, type ByteDType } from "../../engine/graph/byte-weights.ts";
import type { GraphBuilder } from "../../engine/graph/builder.ts";
import { INT4_BLOCK, int4MatMul, quantizedMatMul, roundedLinearCrossEntropy } from "../../engine/graph/operations.ts";
import type { Value } from "../../engine/graph/value.ts";
import { magnitudesOf, roundToBytes, roundToInt4, type BaseRows, type BlockSink, type ByteSinks } from "./round-rows.ts";
import type { BaseTensor, LinearModule } from "./sites.ts";

type Layout = LinearModule["layout"];

/** A tensor of the prepared base that is held rounded. */
export interface RoundedTensor {
  readonly base: BaseTensor;
  readonly layout: Layout;
  /** Whether some outputs' weights are so much larger than others' that the way back cannot scale by input; absent: no. */
  readonly uneven?: boolean;
}

/** One for each declared tensor of a rounding, which are two to four. */
type Sinks = readonly [BlockSink, BlockSink, BlockSink, BlockSink];

/** The rows of a tensor and the file that takes what is made of them. */
export interface RowsToWriter {
  readonly rows: BaseRows;
  readonly writer: SafetensorsWriter;
}

/** One way of rounding weights. */
interface Rounding {
  /** Whether a weight can be held so. */
  fits(base: BaseTensor): boolean;
  /** Names, dtypes and shapes of what stands for a weight in the prepared base. */
  declare(rounded: RoundedTensor): readonly TensorDeclaration[];
  /** Hands their values on in blocks, to one sink for each in that order. */
  round(rounded: RoundedTensor, rows: BaseRows, sinks: Sinks): void;
  /** x `[…, in]` times the weight: `[…, out]`. */
  product(builder: GraphBuilder, rounded: RoundedTensor, x: Value): Value;
}

/** Sizes `[in, out]` of a weight as its product takes it. */
function sizesOf({ base: { shape: [rows = 0, columns = 0] }, layout }: RoundedTensor): { readonly k: number; readonly n: number } {
  return layout === "out_in" ? { k: columns, n: rows } : { k: rows, n: columns };
}

/**
 * Both layouts, as integer products have no transposed form. Each column of a product has its own scale: on the way there each output, on the
 * way back each input, or where outputs are uneven none, since scales of the outputs then go into what comes back.
 */
function inBytes(dtype: ByteDType): Rounding {
  const rounding: Rounding = {
    fits: () => true,
    declare(rounded) {
      const { k, n } = sizesOf(rounded);
      const { name } = rounded.base;
      const backScales: TensorDeclaration = { name: `${name} ${dtype} transposed scales`, dtype: "float32", shape: [k] };
      return [{ name: `${name} ${dtype}`, dtype, shape: [k, n] }, { name: `${name} ${dtype} transposed`, dtype, shape: [n, k] }, { name: `${name} ${dtype} scales`, dtype: "float32", shape: [n] }, ...(rounded.uneven === true ? [] : [backScales])];
    },
    round({ layout, uneven = false }, rows, [byInput, byOutput, scales, backScales]) {
      const [byOut, byIn] = layout === "out_in" ? (["row", "column"] as const) : (["column", "row"] as const);
      const there: ByteSinks = layout === "out_in" ? { turned: byInput, scales } : { asItLies: byInput, scales };
      const back = layout === "out_in" ? { asItLies: byOutput } : { turned: byOutput };
      if (uneven) return roundToBytes(rows, { dtype, scaleBy: byOut }, { ...there, ...back });
      roundToBytes(rows, { dtype, scaleBy: byOut }, there);
      roundToBytes(rows, { dtype, scaleBy: byIn }, { ...back, scales: backScales });
    },
    product(builder, rounded, x) {
      const [weight, transposed, scales, backScales] = weightsOf(builder, rounding.declare(rounded));
      return quantizedMatMul(x, { weight, scales }, { weight: transposed, ...(rounded.uneven === true ? {} : { scales: backScales }) });
    },
  };
  return rounding;
}

const meanSquare = (values: Float64Array): number => values.reduce((sum, x) => sum + x * x, 0) / Math.max(1, values.length);

/** How many times the mean square of the inputs' largest weights may be that of the outputs': as many times the rounding's variance grows on the way back. */
const EVEN_UP_TO = 2;

/** Whether a weight that is rounded to bytes is uneven (`RoundedTensor.uneven`). */
export function isUneven({ layout }: RoundedTensor, rows: BaseRows): boolean {
  const peaks = magnitudesOf(rows);
  const [outputs, inputs] = layout === "out_in" ? [peaks.rows, peaks.columns] : [peaks.columns, peaks.rows];
  return meanSquare(inputs) > EVEN_UP_TO * meanSquare(outputs);
}

/** Blocks of 32 along the rows that the checkpoint has, each by its own scale; two elements a byte. */
const int4: Rounding = {
  fits: ({ shape }) => (shape[1] ?? 0) % INT4_BLOCK === 0,
  declare: ({ base: { name, shape: [rows = 0, columns = 0] } }) => [
    { name: `${name} int4`, dtype: "uint8", shape: [rows, columns / 2] },
    { name: `${name} int4 scales`, dtype: "float32", shape: [rows, columns / INT4_BLOCK] },
  ],
  round: (_rounded, rows, [data, scales]) => roundToInt4(rows, { data, scales }),
  product(builder, rounded, x) {
    const [data, scales] = weightsOf(builder, int4.declare(rounded));
    return int4MatMul(x, data, scales, { transB: rounded.layout === "out_in" });
  },
};

/** A writer's blocks of the declared tensors, one sink for each. */
function sinksOf(declarations: readonly TensorDeclaration[], writer: SafetensorsWriter): Sinks {
  // As for `weightsOf`.
  return declarations.map(({ name }): BlockSink => (block) => writer.writeBlock(name, block)) as unknown as Sinks;
}

/** The declared tensors as weights of a graph; as many as there are names on the left. */
function weightsOf(builder: GraphBuilder, declarations: readonly TensorDeclaration[]): readonly [Value, Value, Value, Value] {
  // Declarations have two to four entries and each rounding takes as many as its own has.
  return declarations.map(({ name, dtype, shape }) => builder.weight(name, dtype, shape)) as unknown as readonly [Value, Value, Value, Value];
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
  readonly head: (BaseTensor & { readonly coarse: boolean }) | undefined;
  readonly tensors: ReadonlyMap<string, RoundedTensor>;
}

/** What decides which tensors are rounded. */
interface Model {
  readonly tensors: readonly BaseTensor[];
  readonly linears: readonly LinearModule[];
  readonly tied: ReadonlyMap<string, string>;
  readonly head: { readonly path: string };
}

/** The tensors that a precision rounds: weights of linear modules that fit and are not to stay float32, and in 8 bits a copy of the output embedding. `uneven`: names of those that are. Undefined for float32. */
export function roundedBase({ tensors, linears, tied, head }: Model, precision: HeldPrecision, { float32Modules = [], uneven = [] }: { readonly float32Modules?: readonly string[] | undefined; readonly uneven?: readonly string[] } = {}): RoundedBase | undefined {
  if (precision === "float32") return undefined;
  const kept = new Set(linears.filter(({ path }) => float32Modules.includes(path)).map(({ weight }) => weight));
  const layouts = new Map(linears.filter(({ isHead }) => !isHead).map((l) => [l.weight, l.layout]));
  const headName = tied.get(`${head.path}.weight`) ?? `${head.path}.weight`;
  const headTensor = tensors.find(({ name }) => name === headName);
  return {
    precision,
    head: byteDType(precision) !== undefined && headTensor !== undefined ? { ...headTensor, coarse: uneven.includes(`${headName} head`) } : undefined,
    tensors: new Map(tensors.flatMap((base): [string, RoundedTensor][] => {
      const layout = layouts.get(base.parts[0]?.name ?? "");
      return layout === undefined || base.parts.some(({ name }) => kept.has(name)) || !ROUNDINGS[precision].fits(base) ? [] : [[base.name, { base, layout, ...(uneven.includes(base.name) ? { uneven: true } : {}) }]];
    })),
  };
}

/** What stands for a rounded tensor in the prepared base. */
export function declareRounded(precision: RoundedBase["precision"], rounded: RoundedTensor): readonly TensorDeclaration[] {
  return ROUNDINGS[precision].declare(rounded);
}

/** Writes what `declareRounded` declares, from the rows as the checkpoint has them. */
export function writeRounded(precision: RoundedBase["precision"], rounded: RoundedTensor, { rows, writer }: RowsToWriter): void {
  ROUNDINGS[precision].round(rounded, rows, sinksOf(declareRounded(precision, rounded), writer));
}

/** x `[…, in]` times a tensor of the prepared base, `[…, out]`; undefined where it is not held rounded. */
export function roundedProduct(builder: GraphBuilder, base: RoundedBase | undefined, name: string, x: Value): Value | undefined {
  const rounded = base?.tensors.get(name);
  return base === undefined || rounded === undefined ? undefined : ROUNDINGS[base.precision].product(builder, rounded, x);
}

type Head = NonNullable<RoundedBase["head"]>;

/**
 * What stands for the output embedding `[V, D]` in the loss: for its logits rounded by token, for the way back by element of the hidden
 * state, with rows of zeros up to whole blocks of tokens; a coarse one takes the way back in float32.
 */
export function declareHead(precision: RoundedBase["precision"], { name, shape: [v = 0, d = 0], coarse }: Head): readonly TensorDeclaration[] {
  const dtype = must(byteDType(precision), "8 bits");
  const { blocks, tokens } = vocabularyBlocks(v);
  return [
    { name: `${name} ${dtype} head`, dtype, shape: [d, v] }, { name: `${name} ${dtype} head scales`, dtype: "float32", shape: [v] },
    ...(coarse ? [] : [{ name: `${name} ${dtype} head back`, dtype, shape: [blocks * tokens, d] }, { name: `${name} ${dtype} head back scales`, dtype: "float32", shape: [d] } as const]),
  ];
}

/** Most times the root mean square of an embedding's largest magnitudes by element may be that of all: rounding is then off by 2 % of an element (minimind2-small: 0.5 %). */
const COARSE_FROM = 9;

/** Whether tokens are so much larger than others that an embedding rounded by element would be coarse. */
export function isCoarse(rows: BaseRows): boolean {
  const { columns, meanSquare: all } = magnitudesOf(rows);
  return meanSquare(columns) > COARSE_FROM ** 2 * all;
}

/** Writes what `declareHead` declares, from the embedding's rows. */
export function writeHead(precision: RoundedBase["precision"], head: Head, { rows, writer }: RowsToWriter): void {
  const dtype = must(byteDType(precision), "8 bits");
  const [forward, scales, back, backScales] = sinksOf(declareHead(precision, head), writer);
  roundToBytes(rows, { dtype, scaleBy: "row" }, { turned: forward, scales });
  if (head.coarse) return;
  roundToBytes(rows, { dtype, scaleBy: "column" }, { asItLies: back, scales: backScales });
  const { blocks, tokens } = vocabularyBlocks(rows.rows);
  const missing = blocks * tokens - rows.rows;
  if (missing > 0) back({ row: rows.rows, column: 0, rows: missing, columns: rows.columns, data: zeros(dtype, [missing * rows.columns]).data.fill(byteZero(dtype)) });
}

/** Elements of the widest value that the loss makes of one hidden row: its logits, or on the way back what each block gives. */
export function widthOfLoss(vocabSize: number, base: RoundedBase | undefined): number {
  if (base?.head === undefined || base.head.coarse) return vocabSize;
  return Math.max(vocabSize, vocabularyBlocks(vocabSize).blocks * (base.head.shape[1] ?? 0));
}

/** Losses of hidden rows by the rounded output embedding; undefined where the base has none. */
export function roundedLoss(builder: GraphBuilder, base: RoundedBase | undefined, rows: { readonly hidden: Value; readonly targets: Value }, pieces: Parameters<typeof roundedLinearCrossEntropy>[3]): Value | undefined {
  if (base?.head === undefined) return undefined;
  const { name, shape: [v = 0, d = 0], coarse } = base.head;
  const { blocks, tokens } = vocabularyBlocks(v);
  const [weight, scales, back, backScales] = weightsOf(builder, declareHead(base.precision, base.head).map((declared, i) => (i === 2 ? { ...declared, shape: [blocks, tokens, d] } : declared)));
  return roundedLinearCrossEntropy(rows.hidden, { weight, scales, embedding: builder.weight(name, "float32", [v, d]), back: coarse ? undefined : { weight: back, scales: backScales } }, rows.targets, pieces);
}
