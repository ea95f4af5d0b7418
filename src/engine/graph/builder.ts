/** Builds a graph node by node; equal nodes are made once. Leaves the meaning of ops to their records. */
import type { DType, Tensor } from "../../core/base/tensor.ts";
import { bytesOf, formatShape, sameShape, tensor } from "../../core/base/tensor.ts";
import { must } from "../../core/base/errors.ts";
import type { Dim } from "./dims.ts";
import type { OpAttributes, OpName } from "./op-attributes.ts";
import { OPS } from "./ops/all.ts";
import type { NodeSink, Value } from "./value.ts";
import type { Graph, NamedValue, Node, TensorType, ValueId } from "./types.ts";

/** Freezes an object and the arrays in it. */
function freeze<T extends object>(value: T): T {
  for (const part of Object.values(value)) Object.freeze(part);
  return Object.freeze(value);
}

/** A graph under construction. `finish` freezes it. */
export class GraphBuilder implements NodeSink {
  readonly #values: Value[] = [];
  readonly #inputs: NamedValue[] = [];
  readonly #weights: NamedValue[] = [];
  readonly #constants: { id: ValueId; tensor: Tensor }[] = [];
  readonly #nodes: Node[] = [];
  readonly #outputs: NamedValue[] = [];
  readonly #known = new Map<string, readonly Value[]>();
  readonly #names = new Set<string>();

  #value(type: TensorType): Value {
    const value: Value = Object.freeze({ id: this.#values.length, builder: this, dtype: type.dtype, shape: Object.freeze([...type.shape]) });
    this.#values.push(value);
    return value;
  }

  #name(name: string): string {
    if (this.#names.has(name)) throw new Error(`graph: two inputs, weights or outputs are called ${name}`);
    this.#names.add(name);
    return name;
  }

  /** A tensor that is fed at every run. */
  input(name: string, dtype: DType, shape: readonly Dim[]): Value {
    const value = this.#value({ dtype, shape });
    this.#inputs.push({ name: this.#name(name), id: value.id });
    return value;
  }

  /** A frozen tensor that lives outside the graph; asking twice for a name gives the same value. Throws where its type differs. */
  weight(name: string, dtype: DType, shape: readonly number[]): Value {
    const known = this.#weights.find((w) => w.name === name);
    if (known !== undefined) {
      const value = must(this.#values[known.id], name);
      if (value.dtype === dtype && sameShape(value.shape, shape)) return value;
      throw new Error(`graph: weight ${name} is ${value.dtype}${formatShape(value.shape)} and asked for as ${dtype}${formatShape(shape)}`);
    }
    const value = this.#value({ dtype, shape });
    this.#weights.push({ name: this.#name(name), id: value.id });
    return value;
  }

  /** A small tensor inside the graph. */
  constant(t: Tensor): Value {
    const key = `constant ${t.dtype} ${t.shape.join(",")} ${Buffer.from(bytesOf(t.data)).toString("base64")}`;
    const known = this.#known.get(key)?.[0];
    if (known !== undefined) return known;
    const value = this.#value({ dtype: t.dtype, shape: t.shape });
    this.#constants.push({ id: value.id, tensor: t });
    this.#known.set(key, [value]);
    return value;
  }

  /** A float32 scalar. */
  scalar(x: number): Value {
    return this.constant(tensor("float32", [], Float32Array.of(x)));
  }

  /** Adds one node, or finds the equal one. Throws where shapes or dtypes do not fit, naming op and shapes. */
  emit<K extends OpName>(op: K, inputs: readonly Value[], attributes: OpAttributes[K]): readonly Value[] {
    for (const input of inputs) {
      if (input.builder !== this) throw new Error(`${op}: an input belongs to another graph`);
    }
    const key = `${op} ${inputs.map((v) => v.id).join(",")} ${JSON.stringify(attributes)}`;
    const known = this.#known.get(key);
    if (known !== undefined) return known;
    const outputs = OPS[op].infer(inputs, attributes).map((type) => this.#value(type));
    // The union of nodes is built per op; here K is generic, so TypeScript cannot pick the member.
    this.#nodes.push(freeze({ op, inputs: inputs.map((v) => v.id), attributes: freeze(structuredClone(attributes)), outputs: outputs.map((v) => v.id) }) as Node);
    this.#known.set(key, outputs);
    return outputs;
  }

  /** Names a result of the graph. Throws where the value belongs to another graph. */
  output(name: string, value: Value): void {
    if (value.builder !== this) throw new Error(`output ${name}: its value belongs to another graph`);
    this.#outputs.push({ name: this.#name(name), id: value.id });
  }

  /** The nodes so far, oldest first. */
  get nodes(): readonly Node[] {
    return this.#nodes;
  }

  /** The value with this id. */
  valueOf(id: ValueId): Value {
    return must(this.#values[id], `value ${id}`);
  }

  /** The frozen graph, without the nodes that no output needs. */
  finish(): Graph {
    const needed = new Set(this.#outputs.map((o) => o.id));
    const nodes: Node[] = [];
    for (const node of [...this.#nodes].reverse()) {
      if (!node.outputs.some((id) => needed.has(id))) continue;
      nodes.push(node);
      for (const id of node.inputs) needed.add(id);
    }
    return freeze({
      values: this.#values.map(({ dtype, shape }) => Object.freeze({ dtype, shape })),
      inputs: [...this.#inputs],
      weights: this.#weights.filter((w) => needed.has(w.id)),
      constants: this.#constants.filter((c) => needed.has(c.id)),
      nodes: nodes.reverse(),
      outputs: [...this.#outputs],
    });
  }
}
