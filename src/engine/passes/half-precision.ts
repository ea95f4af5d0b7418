/**
 * Mixed precision as a graph pass: a float32 forward graph becomes one whose base and activations are held in half precision.
 * What runs in half and what stays float32 is each op's own policy (`OpRecord.precision`); architectures, adapters and gradient
 * rules know nothing of it: the gradient of the new graph runs backwards in the dtypes in which it runs forwards
 * (Micikevicius et al. 2018, "Mixed Precision Training", section 3, with the base frozen and the adapter's tensors float32).
 */
import { must } from "../../core/base/errors.ts";
import { isReal, tensor } from "../../core/base/tensor.ts";
import type { HalfDType, Tensor } from "../../core/base/tensor.ts";
import { narrow } from "../../core/formats/half.ts";
import { GraphBuilder } from "../graph/builder.ts";
import { cast } from "../graph/operations.ts";
import { OPS } from "../graph/ops/all.ts";
import type { Graph, Node, ValueId } from "../graph/types.ts";
import type { Value } from "../graph/value.ts";

export interface HalfPrecisionOptions {
  readonly dtype: HalfDType;
  /** Whether a weight of this name is held in half precision. */
  readonly isHalfWeight: (name: string) => boolean;
}

/** The new graph while it can still grow: without outputs. */
export interface HalfPrecisionGraph {
  readonly builder: GraphBuilder;
  /** The float32 (or integer) value that stands for a value of the old graph. */
  readonly value: (id: ValueId) => Value;
}

/**
 * What a value is: an activation (goes on in half precision), a weight held in half precision, a float32 tensor that stays so, a
 * constant that either fits, or no real number.
 */
type Kind = "activation" | "weight" | "float32" | "constant" | "other";

/** A value of the old graph: one or both of its forms in the new one. */
class Held {
  readonly kind: Kind;
  readonly #dtype: HalfDType;
  #single: Value | undefined;
  #half: Value | undefined;

  constructor(kind: Kind, value: Value, dtype: HalfDType) {
    this.kind = kind;
    this.#dtype = dtype;
    if (value.dtype === dtype) this.#half = value;
    else this.#single = value;
  }

  /** In float32; what is no real number, as it is. */
  get single(): Value {
    this.#single ??= cast(must(this.#half, "value"), "float32");
    return this.#single;
  }

  get half(): Value {
    if (this.kind === "other") return this.single;
    this.#half ??= cast(must(this.#single, "value"), this.#dtype);
    return this.#half;
  }

  /** As activations and weights are held. */
  get stored(): Value {
    return this.kind === "activation" || this.kind === "weight" ? this.half : this.single;
  }
}

/** A constant under both forms, so that no node has to make one of the other; one that half precision cannot hold is float32 only. */
function holdConstant(builder: GraphBuilder, t: Tensor, dtype: HalfDType): Held {
  if (t.dtype !== "float32" || !(t.data instanceof Float32Array)) return new Held("other", builder.constant(t), dtype);
  const bits = narrow(t.data, dtype);
  const infinite = dtype === "float16" ? 0x7c00 : 0x7f80;
  const fits = t.data.every((x, i) => !Number.isFinite(x) || ((bits[i] ?? 0) & infinite) !== infinite);
  const single = builder.constant(t);
  return fits ? new ConstantHeld(single, builder.constant(tensor(dtype, t.shape, bits)), dtype) : new Held("float32", single, dtype);
}

class ConstantHeld extends Held {
  readonly #narrow: Value;

  constructor(single: Value, half: Value, dtype: HalfDType) {
    super("constant", single, dtype);
    this.#narrow = half;
  }

  override get half(): Value {
    return this.#narrow;
  }
}

type Form = "half" | "single" | "stored";

/** How a node runs: in which form it reads its real operands, and what its outputs are. */
interface Placement {
  readonly reads: Form;
  /** In which form it reads the first; absent: as the others. */
  readonly readsFirst?: Form;
  readonly gives: "activation" | "float32";
}

function place({ op }: Node, operands: readonly Held[]): Placement {
  const has = (kind: Kind): boolean => operands.some((o) => o.kind === kind);
  const { precision } = OPS[op];
  const gives = has("activation") ? "activation" : "float32";
  switch (precision) {
    case "half":
      // Arithmetic on weights alone is done once and for all, so exactly: 1 + w of a norm (Gemma).
      return has("activation") && !has("float32") ? { reads: "half", gives } : { reads: "single", gives };
    case "moves":
      return has("activation") || (has("weight") && !has("float32")) ? { reads: "half", gives: "activation" } : { reads: "single", gives: "float32" };
    case "inside":
      return { reads: "single", gives };
    case "float32":
      return { reads: "single", gives: "float32" };
    case "scores": {
      const weighed = operands.slice(1);
      const half = weighed.some(({ kind }) => kind === "activation") && !weighed.some(({ kind }) => kind === "float32");
      return { readsFirst: "single", reads: half ? "half" : "single", gives };
    }
    case "stored":
      return { reads: "stored", gives: "float32" };
    default:
      return precision satisfies never;
  }
}

/** The forward graph in mixed precision. Inputs keep their dtypes. Throws where an op does not take the dtypes that its policy gives it. */
export function toHalfPrecision(graph: Graph, { dtype, isHalfWeight }: HalfPrecisionOptions): HalfPrecisionGraph {
  const builder = new GraphBuilder();
  const held = new Map<ValueId, Held>();
  const typeOf = (id: ValueId) => must(graph.values[id], `value ${id}`);
  const hold = (id: ValueId, value: Value, kind: Kind): void => void held.set(id, new Held(isReal(typeOf(id).dtype) ? kind : "other", value, dtype));
  for (const { name, id } of graph.inputs) hold(id, builder.input(name, typeOf(id).dtype, typeOf(id).shape), "float32");
  for (const { name, id } of graph.weights) {
    const { dtype: own, shape } = typeOf(id);
    const half = own === "float32" && isHalfWeight(name);
    // The shape of a weight is known: the old graph took it.
    hold(id, builder.weight(name, half ? dtype : own, shape.map(Number)), half ? "weight" : "float32");
  }
  for (const { id, tensor: t } of graph.constants) held.set(id, holdConstant(builder, t, dtype));
  const get = (id: ValueId): Held => must(held.get(id), `value ${id}`);
  for (const node of graph.nodes) {
    const operands = node.inputs.map(get);
    const { reads, readsFirst = reads, gives } = place(node, operands);
    const outputs = builder.emit(node.op, operands.map((o, i) => o[i === 0 ? readsFirst : reads]), node.attributes);
    // Further outputs are statistics that a gradient reads.
    node.outputs.forEach((id, i) => hold(id, must(outputs[i], node.op), i === 0 || OPS[node.op].precision === "moves" ? gives : "float32"));
  }
  return { builder, value: (id) => get(id).single };
}
