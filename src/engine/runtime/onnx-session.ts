/** Runs a graph by onnxruntime-node: the fast path. Weights are mapped from their file, or fed from memory that sessions share. */
import { InferenceSession } from "onnxruntime-node";
import type { Tensor as OrtTensor } from "onnxruntime-node";
import { FedtuneError, must } from "../../core/base/errors.ts";
import { trackResource } from "../../core/base/disposal.ts";
import type { Tensor } from "../../core/base/tensor.ts";
import { formatShape } from "../../core/base/tensor.ts";
import { factorOf } from "../graph/dims.ts";
import type { Dim } from "../graph/dims.ts";
import { encodeOnnx } from "../graph/onnx/encode.ts";
import type { Device } from "../graph/onnx/emitter.ts";
import { hashGraph } from "../graph/print.ts";
import type { Graph } from "../graph/types.ts";
import { verifyGraph } from "../graph/verify.ts";
import type { WeightFiles } from "../graph/weights.ts";
import { deviceOptions } from "./device-options.ts";
import { collectGarbage } from "./garbage.ts";
import type { SharedWeights } from "./shared-weights.ts";
import { fromOrt, residentOf, toOrt, toOrtFeeds } from "./resident.ts";
import type { DeviceMemory, Resident } from "./resident.ts";

export interface SessionOptions {
  /** Threads of one run. */
  readonly threads: number;
  /** Where it runs; absent: on the CPU. */
  readonly device?: Device;
  /** Outputs that stay in a device's memory, and that memory. */
  readonly resident?: { readonly memory: DeviceMemory; readonly outputs: readonly string[] };
  /** Absent where the graph has no weights. */
  readonly weights?: WeightFiles;
  /** The same weights in memory: fed at every run where they can be, in place of being mapped. */
  readonly shared?: SharedWeights;
  /** File prefix for onnxruntime's profile of every node; absent: no profile. */
  readonly profile?: string;
}

/** Inputs of a run by name: from the host, or kept by a run before. */
export type Feeds = Readonly<Record<string, Tensor | Resident>>;

/** What a run gave: outputs on the host, and those that stay with the device, to be fed again and then disposed of. */
export interface KeptOutputs {
  readonly host: Readonly<Record<string, Tensor>>;
  readonly kept: Readonly<Record<string, Resident>>;
}

/** A graph that is ready to run. Outputs of one run may be fed to the next without a copy. */
export interface Session extends Disposable {
  /** Runs once; every input by name. All outputs come to the host. Throws an internal error where a feed does not fit. */
  run(feeds: Feeds): Promise<Readonly<Record<string, Tensor>>>;
  /** Runs once; the outputs that the session was opened to keep stay with its device. */
  runKeeping(feeds: Feeds): Promise<KeptOutputs>;
}

class OnnxSession implements Session {
  readonly #session: InferenceSession;
  readonly #weights: Readonly<Record<string, OrtTensor>>;
  readonly #graph: Graph;
  readonly #device: Device;
  readonly #resident: SessionOptions["resident"];
  readonly #released = trackResource("session");
  #disposed = false;

  constructor({ session, weights }: { readonly session: InferenceSession; readonly weights: Readonly<Record<string, OrtTensor>> }, graph: Graph, { device = "cpu", resident }: SessionOptions) {
    this.#session = session;
    this.#weights = weights;
    this.#graph = graph;
    this.#device = device;
    this.#resident = resident;
  }

  #feeds(feeds: Feeds): Record<string, OrtTensor> {
    const ortFeeds: Record<string, OrtTensor> = { ...this.#weights };
    const bindings = new Map<Dim, { readonly value: number; readonly input: string }>();
    for (const { name, id } of this.#graph.inputs) {
      const type = must(this.#graph.values[id], name);
      const fed = feeds[name];
      const fits = fed !== undefined && fed.dtype === type.dtype && fed.shape.length === type.shape.length && type.shape.every((d, i) => typeof d === "string" || d === fed.shape[i]);
      if (!fits) {
        const got = fed === undefined ? "nothing" : `${fed.dtype}${formatShape(fed.shape)}`;
        throw new Error(`session: input ${name}: expected ${type.dtype}${formatShape(type.shape)}, got ${got}`);
      }
      type.shape.forEach((dim, axis) => {
        const value = fed.shape[axis] ?? 0;
        const known = bindings.get(dim);
        if (typeof dim === "string" && known !== undefined && known.value !== value) {
          throw new Error(`session: dimension ${dim}: expected ${known.value}, as input ${known.input} has it, got ${value} in input ${name}`);
        }
        if (typeof dim === "string" && value % factorOf(dim) !== 0) throw new Error(`session: dimension ${dim}: expected a multiple of ${factorOf(dim)}, got ${value} in input ${name}`);
        bindings.set(dim, { value, input: name });
      });
      ortFeeds[name] = toOrt(fed, { device: this.#device, where: `session: input ${name}` });
    }
    return ortFeeds;
  }

  async runKeeping(feeds: Feeds): Promise<KeptOutputs> {
    const results = await this.#session.run(this.#feeds(feeds));
    const host: Record<string, Tensor> = {};
    const kept: Record<string, Resident> = {};
    for (const { name } of this.#graph.outputs) {
      const result = must(results[name], name);
      if (this.#resident?.outputs.includes(name) === true) kept[name] = residentOf(result, this.#resident.memory);
      else host[name] = fromOrt(result, this.#device);
    }
    return { host, kept };
  }

  async run(feeds: Feeds): Promise<Readonly<Record<string, Tensor>>> {
    const { host, kept } = await this.runKeeping(feeds);
    const outputs: Record<string, Tensor> = { ...host };
    for (const [name, output] of Object.entries(kept)) {
      using resident = output;
      outputs[name] = await resident.read();
    }
    return outputs;
  }

  [Symbol.dispose](): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.#released();
    // Release is synchronous inside; the promise only wraps it.
    void this.#session.release();
  }
}

/** Graphs of more nodes leave some 20 to over 100 MB of garbage when they are built and encoded, which V8 would keep beside a run that needs the memory. */
const LARGE_GRAPH = 1000;

/** Whether two nodes are equal: only a pass that recomputes makes such, and it wants them apart. */
function hasTwins({ nodes }: Graph): boolean {
  return new Set(nodes.map(({ op, inputs, attributes }) => `${op} ${inputs.join(",")} ${JSON.stringify(attributes)}`)).size < nodes.length;
}

/** A model as onnxruntime takes it: data that may be sent to another thread. */
export interface EncodedSession {
  readonly model: Uint8Array;
  readonly options: InferenceSession.SessionOptions;
  /** Weights that each run is fed besides. */
  readonly weights: Readonly<Record<string, Tensor>>;
}

/**
 * A graph's model and how it is opened. Prepacking stays off so that weights remain shared pages of their file; the memory pattern
 * stays off because shapes change from run to run.
 */
export function encodeSession(graph: Graph, { threads, weights, shared, device = "cpu", resident, profile }: SessionOptions): EncodedSession {
  verifyGraph(graph);
  const fed = shared?.of(graph) ?? {};
  const recomputes = hasTwins(graph);
  return {
    model: encodeOnnx(graph, (name) => must(weights, `weights for ${name}`).locate(name), { device, saves: recomputes ? "memory" : "time", fed: new Set(Object.keys(fed)) }),
    weights: fed,
    options: {
      ...deviceOptions(device),
      intraOpNumThreads: threads,
      interOpNumThreads: 1,
      executionMode: "sequential",
      graphOptimizationLevel: "all",
      enableMemPattern: false,
      ...(resident === undefined || device !== "webgpu" ? {} : { preferredOutputLocation: Object.fromEntries(resident.outputs.map((name) => [name, "gpu-buffer" as const])) }),
      ...(profile === undefined ? {} : { enableProfiling: true, profileFilePrefix: profile }),
      extra: {
        ...(recomputes ? { optimization: { disable_specified_optimizers: "CommonSubexpressionElimination" } } : {}),
        session: {
          disable_prepacking: "1",
          intra_op: { allow_spinning: "0" },
          ...(weights === undefined ? {} : { model_external_initializers_file_folder_path: weights.folder }),
        },
      },
    },
  };
}

/** Opens a graph on the calling thread. */
export async function openSession(graph: Graph, options: SessionOptions): Promise<Session> {
  const encoded = encodeSession(graph, options);
  try {
    const session = await InferenceSession.create(encoded.model, encoded.options);
    if (graph.nodes.length > LARGE_GRAPH) collectGarbage();
    return new OnnxSession({ session, weights: toOrtFeeds(encoded.weights, "weight") }, graph, options);
  } catch (cause) {
    throw new FedtuneError("internal", {
      where: `graph ${hashGraph(graph).slice(0, 12)}`, expected: "onnxruntime to accept it", got: cause instanceof Error ? cause.message : String(cause),
      remedy: "This is a bug in fedtune or a damaged cache", cause,
    });
  }
}
