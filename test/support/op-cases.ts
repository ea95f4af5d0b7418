/**
 * Cases of every op for the tests of the engine: total over `OpName`, so that an op without a case does not compile.
 * Dimensions are 2, 3, 5 and 7, attributes differ from their defaults. Running them is left to the tests.
 */
import type { DType } from "../../src/core/base/tensor.ts";
import type { Dim } from "../../src/engine/graph/dims.ts";
import type { OpAttributes, OpName } from "../../src/engine/graph/op-attributes.ts";

/** How an input is filled: drawn (normal; positive, at least 0.5; truth values), or these numbers. */
type Fill = "normal" | "positive" | "truth" | readonly number[];

export interface CaseInput {
  readonly dtype: DType;
  readonly shape: readonly Dim[];
  readonly fill: Fill;
  /** Whether the op gives it a gradient. */
  readonly learns: boolean;
}

export interface OpCase<Attributes = OpAttributes[OpName]> {
  /** What this case shows. */
  readonly shows: string;
  readonly inputs: readonly CaseInput[];
  readonly attributes: Attributes;
  /** Values of the symbols in the shapes. */
  readonly symbols?: Readonly<Record<string, number>>;
  /** Largest relative error against the reference; default 1e-5. */
  readonly tolerance?: number;
  /** Outputs that the loss depends on; default: the first. */
  readonly seeded?: readonly number[];
}

const real = (...shape: Dim[]): CaseInput => ({ dtype: "float32", shape, fill: "normal", learns: true });
const positive = (...shape: Dim[]): CaseInput => ({ dtype: "float32", shape, fill: "positive", learns: true });
const frozen = (...shape: Dim[]): CaseInput => ({ dtype: "float32", shape, fill: "normal", learns: false });
const truth = (...shape: Dim[]): CaseInput => ({ dtype: "bool", shape, fill: "truth", learns: false });
const given = (values: readonly number[], ...shape: Dim[]): CaseInput => ({ dtype: "float32", shape, fill: values, learns: false });
const rows = (values: readonly number[], ...shape: Dim[]): CaseInput => ({ dtype: "int32", shape, fill: values, learns: false });

/** Whole numbers of 8 bits, and the same turned. */
const BYTES = [7, -127, 33, 90, -12, 5, 127, -64, 1, 0, 45, -101, 88, 23, -9];
const TURNED = [7, 90, 127, 0, 88, -127, -12, -64, 45, 23, 33, 5, 1, -101, -9];
/** Half of them, signed: products of larger ones with 255 saturate on some processors (engine/runtime/byte-products.ts). */
const bytes = (values: readonly number[], ...shape: Dim[]): CaseInput => ({ dtype: "int8", shape, fill: values.map((x) => Math.trunc(x / 2)), learns: false });
/** Twice what `bytes` gives: by scales 1, 2, 4 of columns one way and 1, 2, 1, 4, 2 the other both are the same numbers. */
const SCALED = [8, -16, 24, 32, 40, -48, 56, -8, 16, -24, 32, -56, 48, -40, 8];
const SCALED_TURNED = [8, 16, 56, -6, 24, -32, 40, -16, 16, -40, 96, -96, 64, -56, 16];
/** All of them, unsigned about 128. */
const unsigned = (values: readonly number[], ...shape: Dim[]): CaseInput => ({ dtype: "uint8", shape, fill: values.map((x) => x + 128), learns: false });
/** The largest numbers: two products of them with 255 fill more than 16 bits. */
const LARGEST = [127, -127, 127, 127, -127, -127, 127, -127, 127, 127, -127, -127, 127, -127, 127];
const LARGEST_TURNED = [127, 127, 127, 127, 127, -127, -127, -127, -127, -127, 127, -127, 127, -127, 127];

/** Bytes of two 4-bit numbers each. */
const packed = (...shape: readonly [number, number]): CaseInput => ({ dtype: "uint8", shape, fill: Array.from({ length: shape[0] * shape[1] }, (_, i) => (i * 37 + 11) % 256), learns: false });

const BTD = { B: 2, T: 3, D: 5 };

/** The three ways in which two inputs meet; `second` draws the right one. */
const pairs = (second: typeof real): readonly OpCase<OpAttributes["Add"]>[] => [
  { shows: "equal shapes", inputs: [real(2, 3), second(2, 3)], attributes: {} },
  { shows: "both sides broadcast, symbolic", inputs: [real("B", 1, 5), second("T", 1)], attributes: {}, symbols: BTD },
  { shows: "a scalar on the left", inputs: [real(), second(7, 2)], attributes: {} },
];

const whole: readonly OpCase<OpAttributes["Add"]>[] = [
  { shows: "whole numbers that broadcast", inputs: [rows([3, -7, 5, 2, 0, 11], "B", 3), rows([-2, 5, 5], 3)], attributes: {}, symbols: BTD },
];

/** Where one side of the curve is flat and the other straight. */
const far: CaseInput = { dtype: "float32", shape: [7], fill: [-11, -5.5, -3.2, 0, 2.9, 5.1, 13], learns: true };

const one = (input: (...shape: Dim[]) => CaseInput): readonly OpCase<OpAttributes["Neg"]>[] => [
  { shows: "concrete", inputs: [input(2, 3, 5)], attributes: {} },
  { shows: "symbolic", inputs: [input("B", 7, "T")], attributes: {}, symbols: BTD },
];

const truths = (inputs: (...shape: Dim[]) => CaseInput): readonly OpCase<OpAttributes["Equal"]>[] => [
  { shows: "broadcast", inputs: [inputs("B", 1, 5), inputs(3, 1)], attributes: {}, symbols: BTD },
];

export const OP_CASES: { readonly [K in OpName]: readonly OpCase<OpAttributes[K]>[] } = {
  Add: [...pairs(real), ...whole],
  Sub: [...pairs(real), ...whole],
  Mul: [...pairs(real), ...whole],
  Div: pairs(positive),
  Min: [...pairs(real), ...whole],
  Max: [...pairs(real), ...whole],
  Neg: one(real),
  Exp: one(real),
  Log: one(positive),
  Sqrt: one(positive),
  Sin: one(real),
  Cos: one(real),
  Sigmoid: one(real),
  Silu: one(real),
  Tanh: one(real),
  Erf: [...one(real), { shows: "both tails", inputs: [given([-7, -5.5, -2.5, 0, 1e-3, 3.5, 6.5, 40], 8)], attributes: {} }],
  Relu: one(real),
  Gelu: [
    { shows: "exact", inputs: [real(2, 3, 5)], attributes: { approximate: "none" } },
    { shows: "exact, symbolic", inputs: [real("B", 7, "T")], attributes: { approximate: "none" }, symbols: BTD },
    { shows: "exact, both tails", inputs: [far], attributes: { approximate: "none" } },
    { shows: "by tanh", inputs: [real(2, 3, 5)], attributes: { approximate: "tanh" } },
    { shows: "by tanh, symbolic", inputs: [real("B", 7, "T")], attributes: { approximate: "tanh" }, symbols: BTD },
    { shows: "by tanh, both tails", inputs: [far], attributes: { approximate: "tanh" } },
  ],
  QuantizedMatMul: [
    { shows: "with scales", inputs: [real(2, "T", 5), bytes(BYTES, 5, 3), bytes(TURNED, 3, 5), given([0.01, 0.3, 0.002], 3)], attributes: {}, symbols: BTD, tolerance: 0.02 },
    { shows: "with other scales the other way", inputs: [real(2, "T", 5), bytes(SCALED, 5, 3), bytes(SCALED_TURNED, 3, 5), given([0.01, 0.02, 0.04], 3), given([0.01, 0.02, 0.01, 0.04, 0.02], 5)], attributes: {}, symbols: BTD, tolerance: 0.02 },
    { shows: "without scales, a row of zeros", inputs: [given([0, 0, 0, 0, 0, 1, -2, 3, 5, -7], 2, 5), bytes(BYTES, 5, 3), bytes(TURNED, 3, 5)], attributes: {}, tolerance: 0.02 },
    { shows: "rows that rounding does not change", inputs: [given([127, -127, 5, 0, 64, 12.7, 1.3, -3.1, 0.1, 4], 2, 5), unsigned(BYTES, 5, 3), unsigned(TURNED, 3, 5)], attributes: {} },
    { shows: "an unsigned weight with scales", inputs: [real(2, "T", 5), unsigned(BYTES, 5, 3), unsigned(TURNED, 3, 5), given([0.01, 0.3, 0.002], 3)], attributes: {}, symbols: BTD, tolerance: 0.02 },
    { shows: "the largest numbers of an unsigned weight", inputs: [given([127, 127, 127, 127, 127, 127, 127, -127, -127, -127], 2, 5), unsigned(LARGEST, 5, 3), unsigned(LARGEST_TURNED, 3, 5)], attributes: {} },
  ],
  Int4MatMul: [
    { shows: "the weight turned", inputs: [real("B", 3, 32), packed(5, 16), given([0.3, 0.01, 2, 0.7, 0.05], 5, 1)], attributes: { transB: true }, symbols: BTD },
    { shows: "as it lies, two blocks a row", inputs: [real(7, 3), packed(3, 32), given([0.3, 0.01, 2, 0.7, 0.05, 1.1], 3, 2)], attributes: { transB: false } },
  ],
  Where: [
    { shows: "equal shapes", inputs: [truth(3, 5), real(3, 5), real(3, 5)], attributes: {} },
    { shows: "all three broadcast", inputs: [truth("T", 1), real("B", 1, 5), real()], attributes: {}, symbols: BTD },
  ],
  Equal: [
    { shows: "numbers of which some are equal", inputs: [given([0.5, 2, 3], 3), given([2, 0.5], 2, 1)], attributes: {} },
    { shows: "row numbers", inputs: [rows([3, 1, 2, 3], 2, 2), rows([3, 2], 2)], attributes: {} },
  ],
  LessOrEqual: [
    { shows: "numbers of which some are equal", inputs: [given([0.5, 2, 3], 3), given([2, 0.5], 2, 1)], attributes: {} },
    ...truths(frozen),
  ],
  And: truths(truth),
  Or: truths(truth),
  Not: [{ shows: "symbolic", inputs: [truth("B", 5)], attributes: {}, symbols: BTD }],
  IsFinite: [{ shows: "numbers, NaN and both infinities", inputs: [given([1.5, Number.NaN, -2, Infinity, -Infinity, 0], 2, 3)], attributes: {} }],
  StopGradient: [{ shows: "symbolic", inputs: [frozen("B", "T", 5)], attributes: {}, symbols: BTD }],
  Cast: [
    { shows: "real to real", inputs: [real(2, 3)], attributes: { to: "float32" } },
    { shows: "truth to real", inputs: [truth("B", 3)], attributes: { to: "float32" }, symbols: BTD },
    { shows: "real to whole, towards zero", inputs: [given([-2.7, -0.4, 0.6, 3.9], 4)], attributes: { to: "int32" } },
  ],
  Dropout: [
    { shows: "p = 0.3", inputs: [real(5, 7), truth(5, 7)], attributes: { p: 0.3 } },
    { shows: "symbolic", inputs: [real("B", "T", 5), truth("B", "T", 5)], attributes: { p: 0.3 }, symbols: BTD },
  ],
  MatMul: [
    { shows: "plain matrices", inputs: [real(2, 3), real(3, 5)], attributes: { transA: false, transB: false, alpha: 1 } },
    { shows: "a shared second matrix, scaled", inputs: [real("B", "T", 5), real(5, 7)], attributes: { transA: false, transB: false, alpha: 0.3 }, symbols: BTD },
    { shows: "a shared second matrix, transposed", inputs: [real("B", "T", 5), real(7, 5)], attributes: { transA: false, transB: true, alpha: 2.5 }, symbols: BTD },
    { shows: "a shared first matrix, transposed", inputs: [real(3, 2), real("B", 3, 5)], attributes: { transA: true, transB: false, alpha: 0.3 }, symbols: BTD },
    { shows: "batched, first transposed", inputs: [real("B", 5, 3), real("B", 5, 7)], attributes: { transA: true, transB: false, alpha: 1 }, symbols: BTD },
    { shows: "batched, both transposed", inputs: [real(2, 5, 3), real(2, 7, 5)], attributes: { transA: true, transB: true, alpha: 0.3 } },
    { shows: "a frozen second matrix", inputs: [real("B", "T", 5), frozen(7, 5)], attributes: { transA: false, transB: true, alpha: 0.3 }, symbols: BTD },
    { shows: "leading axes broadcast both ways", inputs: [real("B", 1, 3, 5), real("T", 7, 5)], attributes: { transA: false, transB: true, alpha: 0.3 }, symbols: BTD },
    { shows: "first of rank 3 transposed, second shared", inputs: [real(2, 5, 3), real(5, 7)], attributes: { transA: true, transB: false, alpha: 1.5 } },
  ],
  Reshape: [
    { shows: "concrete", inputs: [real(2, 3, 5)], attributes: { shape: [5, 6] } },
    { shows: "one unknown dimension", inputs: [real("B", "T", 5)], attributes: { shape: ["B*T", 5] }, symbols: BTD },
    { shows: "two unknown dimensions", inputs: [real("B", "T", 10)], attributes: { shape: ["T", 2, "5*B"] }, symbols: BTD },
    { shows: "down to a scalar", inputs: [real(1, 1)], attributes: { shape: [] } },
  ],
  Transpose: [
    { shows: "a cycle of three axes", inputs: [real(2, 3, 5)], attributes: { permutation: [2, 0, 1] } },
    { shows: "symbolic", inputs: [real("B", "T", 7, 2)], attributes: { permutation: [0, 2, 3, 1] }, symbols: BTD },
  ],
  Expand: [
    { shows: "concrete", inputs: [real(2, 1, 5)], attributes: { shape: [2, 3, 5] } },
    { shows: "symbolic, two axes", inputs: [real("B", 1, "T", 1)], attributes: { shape: ["B", "T", "T", 7] }, symbols: BTD },
  ],
  Split: [
    { shows: "unequal pieces", inputs: [real(3, 7)], attributes: { axis: 1, sizes: [2, 5] }, seeded: [0, 1] },
    { shows: "only the middle piece used", inputs: [real("B", 10, "T")], attributes: { axis: 1, sizes: [2, 5, 3] }, symbols: BTD, seeded: [1] },
    { shows: "symbolic sizes", inputs: [real("T", "B", "D")], attributes: { axis: 2, sizes: ["T", "B"] }, symbols: BTD, seeded: [0, 1] },
    { shows: "a symbolic size beside a known one, only the latter used", inputs: [real("D", "T", 2)], attributes: { axis: 0, sizes: ["T", 2] }, symbols: BTD, seeded: [1] },
  ],
  Concat: [
    { shows: "unequal pieces", inputs: [real(3, 2), real(3, 5)], attributes: { axis: 1 } },
    { shows: "three pieces beside symbolic axes", inputs: [real("B", 2, "T"), real("B", 1, "T"), real("B", 3, "T")], attributes: { axis: 1 }, symbols: BTD },
    { shows: "along a symbolic axis", inputs: [real("B", "T", "D"), real("B", "B", "D")], attributes: { axis: 1, size: "D" }, symbols: BTD },
    { shows: "a known piece before a symbolic one", inputs: [real("D", 2), real("D", "T")], attributes: { axis: 1, size: "D" }, symbols: BTD },
  ],
  ReduceSum: [
    { shows: "two axes", inputs: [real(2, 3, 5)], attributes: { axes: [0, 2] } },
    { shows: "a symbolic axis", inputs: [real("B", "T", 5)], attributes: { axes: [1] }, symbols: BTD },
  ],
  ReduceMean: [
    { shows: "two axes", inputs: [real(2, 3, 5)], attributes: { axes: [0, 2] } },
    { shows: "beside symbolic axes", inputs: [real("B", "T", 7)], attributes: { axes: [2] }, symbols: BTD },
  ],
  ReduceMax: [{ shows: "two axes", inputs: [frozen("B", 3, 5)], attributes: { axes: [0, 2] }, symbols: BTD }],
  Gather: [
    { shows: "repeated rows", inputs: [real(5, 3), rows([4, 0, 4, 4, 2, 1], 2, 3)], attributes: {} },
    { shows: "symbolic indices", inputs: [real(5, 2), rows([3, 3, 0, 1, 2, 3], "B", "T")], attributes: {}, symbols: BTD },
    { shows: "a table of rank 3", inputs: [real(5, 2, 3), rows([4, 1, 4], 3)], attributes: {} },
    { shows: "a table of rank 1", inputs: [real(5), rows([4, 1, 4], 3)], attributes: {} },
  ],
  GatherRows: [
    { shows: "rows repeated within clients", inputs: [real(2, 5, 3), rows([4, 0, 4, 2, 2, 0], 2, 3)], attributes: {} },
    { shows: "symbolic clients and rows", inputs: [real("B", "D", 2), rows([4, 4, 1, 0, 3, 0], "B", "T")], attributes: {}, symbols: BTD },
    { shows: "one client", inputs: [real(1, "T", 2), rows([2, 0, 2, 1, 1], 1, 5)], attributes: {}, symbols: BTD },
  ],
  ScatterRows: [
    { shows: "rows repeated within clients", inputs: [real(2, 3, 5), rows([6, 0, 6, 2, 2, 2], 2, 3)], attributes: { rows: 7 } },
    { shows: "symbolic clients and rows", inputs: [real("B", "T", 2), rows([4, 4, 1, 0, 3, 0], "B", "T")], attributes: { rows: "2*T" }, symbols: BTD },
    { shows: "one client", inputs: [real(1, "T", 2), rows([2, 0, 2], 1, "T")], attributes: { rows: 5 }, symbols: BTD },
  ],
  Softmax: [
    { shows: "concrete", inputs: [real(2, 3, 5)], attributes: {} },
    { shows: "over a symbolic axis", inputs: [real("B", 7, "T")], attributes: {}, symbols: BTD },
  ],
  SoftmaxProduct: [
    { shows: "concrete", inputs: [real(2, 3, 5), real(2, 5, 7)], attributes: {} },
    { shows: "symbolic, values frozen", inputs: [real("B", 2, "D", "T"), frozen("B", 2, "T", 7)], attributes: {}, symbols: BTD },
    { shows: "scores frozen", inputs: [frozen("B", "D", "T"), real("B", "T", 2)], attributes: {}, symbols: BTD },
  ],
  RmsNorm: [
    { shows: "a large epsilon", inputs: [real(2, 3, 5), real(5)], attributes: { epsilon: 0.3 } },
    { shows: "symbolic rows", inputs: [real("B", "T", 7), real(7)], attributes: { epsilon: 1e-5 }, symbols: BTD },
  ],
  LayerNorm: [
    { shows: "a large epsilon", inputs: [real(2, 3, 5), real(5), real(5)], attributes: { epsilon: 0.3 } },
    { shows: "symbolic rows", inputs: [real("B", "T", 7), real(7), real(7)], attributes: { epsilon: 1e-5 }, symbols: BTD },
    { shows: "a frozen weight and bias", inputs: [real("B", "T", 7), frozen(7), frozen(7)], attributes: { epsilon: 1e-5 }, symbols: BTD },
    { shows: "only the bias learns", inputs: [frozen(2, 3, 5), frozen(5), real(5)], attributes: { epsilon: 0.3 } },
  ],
  RotaryEmbedding: [
    { shows: "three heads", inputs: [real("B", "T", 12), frozen("B", "T", 2), frozen("B", "T", 2)], attributes: { inverse: false }, symbols: BTD },
    { shows: "inverse, one head", inputs: [real(2, 3, 10), frozen(2, 3, 5), frozen(2, 3, 5)], attributes: { inverse: true } },
  ],
  CrossEntropy: [
    { shows: "concrete", inputs: [real(2, 3, 5), rows([4, 0, 2, 2, 1, 4], 2, 3)], attributes: {} },
    { shows: "symbolic", inputs: [real("B", "T", 7), rows([6, 0, 2, 2, 1, 6], "B", "T")], attributes: {}, symbols: BTD },
  ],
  LinearCrossEntropy: [
    { shows: "one piece", inputs: [real(2, 3, 5), real(7, 5), rows([6, 0, 2, 2, 1, 4], 2, 3)], attributes: { chunks: 1, minimumRows: 1, softCap: 0 } },
    { shows: "pieces of unequal length", inputs: [real(1, 7, 3), real(5, 3), rows([4, 0, 2, 2, 1, 4, 3], 1, 7)], attributes: { chunks: 3, minimumRows: 1, softCap: 0 } },
    { shows: "a frozen head", inputs: [real(2, 3, 5), frozen(7, 5), rows([6, 0, 2, 2, 1, 4], 2, 3)], attributes: { chunks: 2, minimumRows: 1, softCap: 0 } },
    { shows: "soft-capped logits", inputs: [real(1, 7, 3), real(5, 3), rows([4, 0, 2, 2, 1, 4, 3], 1, 7)], attributes: { chunks: 3, minimumRows: 1, softCap: 1.7 } },
    { shows: "soft-capped logits of a frozen head", inputs: [real("B", "T", 5), frozen(7, 5), rows([6, 0, 2, 2, 1, 4], "B", "T")], attributes: { chunks: 1, minimumRows: 1, softCap: 0.6 }, symbols: BTD },
    { shows: "empty pieces at the end", inputs: [real("B", "T", 5), real(7, 5), rows([6, 0, 2, 2, 1, 4], "B", "T")], attributes: { chunks: 5, minimumRows: 4, softCap: 0 }, symbols: BTD },
  ],
  RoundedLinearCrossEntropy: [
    { shows: "one piece", inputs: [real(2, 3, 5), bytes(BYTES, 5, 3), given([0.02, 0.02, 0.02], 3), given(TURNED.map((x) => 0.02 * Math.trunc(x / 2)), 3, 5), rows([1, 0, 2, 2, 1, 0], 2, 3)], attributes: { chunks: 1, minimumRows: 1, softCap: 0 }, tolerance: 0.03 },
    { shows: "the way back in 8 bits, one block", inputs: [real("B", "T", 5), bytes(BYTES, 5, 3), given([0.02, 0.02, 0.02], 3), given(TURNED.map((x) => 0.02 * Math.trunc(x / 2)), 3, 5), rows([1, 0, 2, 2, 1, 0], "B", "T"), bytes(TURNED, 1, 3, 5), given([0.02, 0.02, 0.02, 0.02, 0.02], 5)], attributes: { chunks: 2, minimumRows: 1, softCap: 0 }, symbols: BTD, tolerance: 0.03 },
    { shows: "the way back in 8 bits, soft-capped, two unsigned blocks, the last filled up", inputs: [real(2, 3, 5), unsigned(BYTES, 5, 3), given([0.02, 0.02, 0.02], 3), given(TURNED.map((x) => 0.02 * x), 3, 5), rows([1, 0, 2, 2, 1, 0], 2, 3), unsigned([...TURNED, 0, 0, 0, 0, 0], 2, 2, 5), given([0.02, 0.02, 0.02, 0.02, 0.02], 5)], attributes: { chunks: 1, minimumRows: 1, softCap: 1.3 }, tolerance: 0.03 },
    { shows: "an unsigned embedding", inputs: [real(2, 3, 5), unsigned(BYTES, 5, 3), given([0.02, 0.02, 0.02], 3), given(TURNED.map((x) => 0.02 * x), 3, 5), rows([1, 0, 2, 2, 1, 0], 2, 3)], attributes: { chunks: 1, minimumRows: 1, softCap: 0 }, tolerance: 0.03 },
    { shows: "the largest numbers of an unsigned embedding", inputs: [real(2, 3, 5), unsigned(LARGEST, 5, 3), given([0.02, 0.02, 0.02], 3), given(LARGEST_TURNED.map((x) => 0.02 * x), 3, 5), rows([1, 0, 2, 2, 1, 0], 2, 3)], attributes: { chunks: 1, minimumRows: 1, softCap: 0 }, tolerance: 0.03 },
    { shows: "pieces of unequal length, soft-capped", inputs: [real(1, "T", 5), bytes(BYTES, 5, 3), given([0.02, 0.02, 0.02], 3), given(TURNED.map((x) => 0.02 * Math.trunc(x / 2)), 3, 5), rows([1, 0, 2], 1, "T")], attributes: { chunks: 2, minimumRows: 1, softCap: 1.3 }, symbols: BTD, tolerance: 0.03 },
  ],
};
