/** Encodes a graph as an ONNX model; weights stay outside, as references into a file. */
import { create, toBinary } from "@bufbuild/protobuf";
import { bytesOf, isHalf, sameShape, tensor } from "../../../core/base/tensor.ts";
import type { DType, Tensor } from "../../../core/base/tensor.ts";
import { must } from "../../../core/base/errors.ts";
import { narrow } from "../../../core/formats/half.ts";
import { factorOf, symbolsOf } from "../dims.ts";
import type { Dim } from "../dims.ts";
import { OPS } from "../ops/all.ts";
import type { LoweredNode, OpRecord } from "../ops/record.ts";
import type { Graph, TensorType } from "../types.ts";
import type { WeightLocation } from "../weights.ts";
import type { Device, OnnxAttribute, OnnxEmitter } from "./emitter.ts";
import { lacksHalfKernel, lowerInFloat32 } from "./half-on-cpu.ts";
import {
  AttributeProto_AttributeType, AttributeProtoSchema, GraphProtoSchema, ModelProtoSchema, NodeProtoSchema, OperatorSetIdProtoSchema, StringStringEntryProtoSchema,
  TensorProto_DataLocation, TensorProto_DataType, TensorProtoSchema, TensorShapeProto_DimensionSchema, TensorShapeProtoSchema, TypeProto_TensorSchema, TypeProtoSchema, ValueInfoProtoSchema,
} from "./onnx_pb.js";
import type { AttributeProto, NodeProto, TensorProto, TypeProto, ValueInfoProto } from "./onnx_pb.js";

const IR_VERSION = 10n;
const OPSET = 21n;
const CONTRIB_DOMAIN = "com.microsoft";

const ONNX_TYPES: Record<DType, TensorProto_DataType> = {
  float32: TensorProto_DataType.FLOAT, float64: TensorProto_DataType.DOUBLE, float16: TensorProto_DataType.FLOAT16, bfloat16: TensorProto_DataType.BFLOAT16,
  int64: TensorProto_DataType.INT64, int32: TensorProto_DataType.INT32, uint8: TensorProto_DataType.UINT8, int8: TensorProto_DataType.INT8,
  uint32: TensorProto_DataType.UINT32, uint64: TensorProto_DataType.UINT64, bool: TensorProto_DataType.BOOL,
};

function encodeAttribute(name: string, value: OnnxAttribute): AttributeProto {
  if (typeof value === "bigint") return create(AttributeProtoSchema, { name, type: AttributeProto_AttributeType.INT, i: value });
  if (typeof value === "number") return create(AttributeProtoSchema, { name, type: AttributeProto_AttributeType.FLOAT, f: value });
  if (typeof value === "string") return create(AttributeProtoSchema, { name, type: AttributeProto_AttributeType.STRING, s: new TextEncoder().encode(value) });
  return create(AttributeProtoSchema, { name, type: AttributeProto_AttributeType.INTS, ints: [...value] });
}

function encodeType(name: string, { dtype, shape }: TensorType): ValueInfoProto {
  return create(ValueInfoProtoSchema, { name, type: typeProto({ dtype, shape }) });
}

/** Of a value whose shape stays unsaid. */
function encodeDType(name: string, { dtype }: TensorType): ValueInfoProto {
  const tensorType = create(TypeProto_TensorSchema, { elemType: ONNX_TYPES[dtype] });
  return create(ValueInfoProtoSchema, { name, type: create(TypeProtoSchema, { value: { case: "tensorType", value: tensorType } }) });
}

function typeProto({ dtype, shape }: TensorType): TypeProto {
  const dim = shape.map((d) =>
    create(TensorShapeProto_DimensionSchema, { value: typeof d === "number" ? { case: "dimValue", value: BigInt(d) } : { case: "dimParam", value: d } }),
  );
  const tensorType = create(TypeProto_TensorSchema, { elemType: ONNX_TYPES[dtype], shape: create(TensorShapeProtoSchema, { dim }) });
  return create(TypeProtoSchema, { value: { case: "tensorType", value: tensorType } });
}

/**
 * Nodes whose values onnxruntime's planner may let share a buffer: many, or few where memory counts for more than the time to
 * open a session (LOG.md).
 */
const PLANNED_NODES = { time: 512, memory: 16 } as const;
/**
 * Graphs of so many nodes that save memory say no shapes at all: the planner compares a value whose shape it knows with every buffer
 * freed before, which takes longest where few may be shared. In smaller ones the shapes that it infers by itself cost more (LOG.md).
 */
const UNSHAPED_FROM = 9000;

export interface EncodeOptions {
  /** Default: the CPU. */
  readonly device?: Device;
  /** Names of weights that are fed at every run, like inputs; absent: all lie in files. */
  readonly fed?: ReadonlySet<string>;
  /** What planning of buffers saves: time when a session opens (the default), or memory when it runs. */
  readonly saves?: keyof typeof PLANNED_NODES;
}

const valueName = (id: number): string => `%v${id}`;

function encodeTensor(name: string, t: Tensor): TensorProto {
  return create(TensorProtoSchema, { name, dataType: ONNX_TYPES[t.dtype], dims: t.shape.map(BigInt), rawData: bytesOf(t.data) });
}

function encodeWeight(name: string, { dtype, shape }: TensorType, { file, offset, length }: WeightLocation): TensorProto {
  const entry = (key: string, value: string) => create(StringStringEntryProtoSchema, { key, value });
  return create(TensorProtoSchema, {
    name, dataType: ONNX_TYPES[dtype], dims: shape.map((d) => BigInt(d)), dataLocation: TensorProto_DataLocation.EXTERNAL,
    externalData: [entry("location", file), entry("offset", String(offset)), entry("length", String(length))],
  });
}

/** Names that the encoder makes up start with "%", so that an input called "v1" meets none of them. */
class Emitter implements OnnxEmitter {
  readonly device: Device;
  readonly nodes: NodeProto[] = [];
  readonly initializers: TensorProto[] = [];
  readonly valueInfo: ValueInfoProto[] = [];
  /** Number of the stretch of nodes that is being written: see `declare`. */
  stretch = 0;
  readonly #types = new Map<string, TypeProto>();
  readonly #constants = new Map<string, string>();
  readonly #shared = new Map<string, string>();
  /** Where the value of a symbol can be read: a value and the axis that has just this symbol, `factor` times. */
  readonly #symbols = new Map<string, { readonly value: string; readonly axis: number; readonly factor: number }>();
  #fresh = 0;

  constructor(device: Device) {
    this.device = device;
  }

  learnSymbols(value: string, { shape }: TensorType): void {
    shape.forEach((dim, axis) => {
      const [symbol, ...others] = symbolsOf(dim);
      if (symbol !== undefined && others.length === 0 && !this.#symbols.has(symbol)) this.#symbols.set(symbol, { value, axis, factor: factorOf(dim) });
    });
  }

  node(op: string, inputs: readonly string[], outputs: readonly string[] | number, options: { attributes?: Readonly<Record<string, OnnxAttribute>>; domain?: string } = {}): readonly string[] {
    const names = typeof outputs === "number" ? Array.from({ length: outputs }, () => `%t${this.#fresh++}`) : outputs;
    const attribute = Object.entries(options.attributes ?? {}).map(([name, value]) => encodeAttribute(name, value));
    this.nodes.push(create(NodeProtoSchema, { name: `${op}_${this.nodes.length}`, opType: op, domain: options.domain ?? "", input: [...inputs], output: [...names], attribute }));
    return names;
  }

  fresh(op: string, inputs: readonly string[], options: { attributes?: Readonly<Record<string, OnnxAttribute>>; domain?: string } = {}): string {
    return must(this.node(op, inputs, 1, options)[0], op);
  }

  constant(t: Tensor): string {
    const key = `${t.dtype}${t.shape.join(",")}:${Buffer.from(bytesOf(t.data)).toString("base64")}`;
    const known = this.#constants.get(key);
    if (known !== undefined) return known;
    const name = `%k${this.#constants.size}`;
    this.initializers.push(encodeTensor(name, t));
    this.#constants.set(key, name);
    return name;
  }

  integers(values: readonly number[]): string {
    return this.constant(tensor("int64", [values.length], BigInt64Array.from(values, BigInt)));
  }

  float(x: number, dtype: DType = "float32"): string {
    return this.constant(isHalf(dtype) ? tensor(dtype, [], narrow(Float32Array.of(x), dtype)) : tensor("float32", [], Float32Array.of(x)));
  }

  once(key: string, make: () => string): string {
    const known = this.#shared.get(key);
    if (known !== undefined) return known;
    const name = make();
    this.#shared.set(key, name);
    return name;
  }

  shape(dims: readonly Dim[]): string {
    return this.once(`shape ${dims.join(",")}`, () => {
      const parts = dims.map((dim) => {
        if (typeof dim === "number") return this.integers([dim]);
        const factors = symbolsOf(dim).map((symbol) => this.#symbol(symbol));
        const start = factorOf(dim) === 1 ? factors.shift() : this.integers([factorOf(dim)]);
        return factors.reduce((a, b) => this.fresh("Mul", [a, b]), must(start, "symbol"));
      });
      return dims.every((d) => typeof d === "number") ? this.integers(dims) : parts.length === 1 ? must(parts[0], "dim") : this.fresh("Concat", parts, { attributes: { axis: 0n } });
    });
  }

  #symbol(symbol: string): string {
    return this.once(`symbol ${symbol}`, () => {
      const source = this.#symbols.get(symbol);
      if (source === undefined) throw new Error(`dimension ${symbol} is needed before any value has it as an axis`);
      const length = this.fresh("Shape", [source.value], { attributes: { start: BigInt(source.axis), end: BigInt(source.axis + 1) } });
      return source.factor === 1 ? length : this.fresh("Div", [length, this.integers([source.factor])]);
    });
  }

  reshape(x: string, from: readonly Dim[], to: readonly Dim[], output?: string): string {
    if (sameShape(from, to) && output === undefined) return x;
    const unknown = to.filter((d) => typeof d !== "number").length;
    // One symbolic dimension can be inferred; more are computed once per distinct target, where 0 means 0 and not "as before".
    const [target, attributes] = unknown === 1 ? [this.integers(to.map((d) => (typeof d === "number" ? d : -1))), {}] : [this.shape(to), { allowzero: 1n }];
    const [name = ""] = this.node("Reshape", [x, target], output === undefined ? 1 : [output], { attributes });
    return name;
  }

  /**
   * Where a shape is unknown to it, onnxruntime's planner finds no freed buffer for a value, yet compares it with each: with thousands
   * of nodes that is most of the time to open a session. A symbol's name carries its stretch of nodes: a buffer that a later
   * stretch takes over would be held until then, at the cost of memory.
   */
  declare(value: string, { dtype, shape }: TensorType): string {
    const own = shape.map((d) => (typeof d === "number" ? d : `${d}@${this.stretch}`));
    const key = `${dtype} ${own.join(",")}`;
    const type = this.#types.get(key) ?? typeProto({ dtype, shape: own });
    this.#types.set(key, type);
    this.valueInfo.push(create(ValueInfoProtoSchema, { name: value, type }));
    return value;
  }

  cast(x: string, to: DType, output?: string): string {
    return must(this.node("Cast", [x], output === undefined ? 1 : [output], { attributes: { to: BigInt(ONNX_TYPES[to]) } })[0], "Cast");
  }
}

/** The ONNX model of a graph, in the form that suits a device. `locate` says where each weight's bytes lie. */
export function encodeOnnx(graph: Graph, locate: (name: string) => WeightLocation, { device = "cpu", saves = "time", fed = new Set() }: EncodeOptions = {}): Uint8Array {
  const emitter = new Emitter(device);
  const names = new Map<number, string>();
  const typeOf = (id: number): TensorType => must(graph.values[id], `value ${id}`);
  const unshaped = saves === "memory" && device === "cpu" && graph.nodes.length >= UNSHAPED_FROM;
  const encodeValue = unshaped ? encodeDType : encodeType;
  const used = new Set([...graph.nodes.flatMap((n) => n.inputs), ...graph.outputs.map((o) => o.id)]);
  for (const { id, name } of [...graph.inputs, ...graph.weights]) names.set(id, name);
  for (const { id, name } of graph.inputs) emitter.learnSymbols(name, typeOf(id));
  for (const { id, tensor: constant } of graph.constants) names.set(id, emitter.constant(constant));

  for (const [index, node] of graph.nodes.entries()) {
    emitter.stretch = Math.floor(index / PLANNED_NODES[saves]);
    const outputs = node.outputs.map(valueName);
    node.outputs.forEach((id, i) => names.set(id, outputs[i] ?? ""));
    const lowered: LoweredNode<typeof node.attributes> = {
      attributes: node.attributes, outputs, inputs: node.inputs.map((id) => must(names.get(id), `value ${id}`)),
      inputTypes: node.inputs.map(typeOf), outputTypes: node.outputs.map(typeOf), used: node.outputs.map((id) => used.has(id)),
    };
    // Node is a union over ops and OPS is indexed by the same op; TypeScript cannot correlate the two.
    const lower = (form: LoweredNode<typeof node.attributes>): void => (OPS[node.op] as OpRecord<typeof node.attributes>).lower(emitter, form);
    if (device === "cpu" && lacksHalfKernel(node.op)) lowerInFloat32(emitter, lowered, lower);
    else lower(lowered);
    node.outputs.forEach((id, i) => {
      if (!used.has(id)) return;
      const name = outputs[i] ?? "";
      emitter.learnSymbols(name, typeOf(id));
      emitter.declare(name, typeOf(id));
    });
  }
  const mapped = graph.weights.filter(({ name }) => !fed.has(name));
  const inputs = [...graph.inputs, ...graph.weights.filter(({ name }) => fed.has(name))];
  for (const { id, name } of graph.outputs) emitter.node("Identity", [must(names.get(id), name)], [name]);

  const model = create(ModelProtoSchema, {
    irVersion: IR_VERSION,
    producerName: "fedtune",
    opsetImport: [create(OperatorSetIdProtoSchema, { domain: "", version: OPSET }), create(OperatorSetIdProtoSchema, { domain: CONTRIB_DOMAIN, version: 1n })],
    graph: create(GraphProtoSchema, {
      name: "fedtune",
      // onnxruntime runs what a node reads in descending order of where it is listed. Backwards in the list, nodes run in the
      // graph's order, each when something needs it: gradients of parameters at once, values made again as late as can be.
      node: emitter.nodes.toReversed(),
      initializer: [...emitter.initializers, ...mapped.map(({ id, name }) => encodeWeight(name, typeOf(id), locate(name)))],
      input: inputs.map(({ id, name }) => encodeValue(name, typeOf(id))),
      output: graph.outputs.map(({ id, name }) => encodeValue(name, typeOf(id))),
      valueInfo: unshaped ? [] : emitter.valueInfo,
    }),
  });
  return toBinary(ModelProtoSchema, model);
}
