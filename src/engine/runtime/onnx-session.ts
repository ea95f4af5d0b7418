/** Runs a graph by onnxruntime-node: the fast path. Weights are mapped from their file, not copied. */
import { InferenceSession, Tensor as OrtTensor } from "onnxruntime-node";
import { FedtuneError, must } from "../../core/base/errors.ts";
import { trackResource } from "../../core/base/disposal.ts";
import type { ArrayOf, DType, Tensor } from "../../core/base/tensor.ts";
import { formatShape } from "../../core/base/tensor.ts";
import type { Dim } from "../graph/dims.ts";
import { encodeOnnx } from "../graph/onnx/encode.ts";
import { hashGraph } from "../graph/print.ts";
import type { Graph } from "../graph/types.ts";
import { verifyGraph } from "../graph/verify.ts";
import type { WeightFiles } from "../graph/weights.ts";

export interface SessionOptions {
  /** Threads of one run. */
  readonly threads: number;
  /** Absent where the graph has no weights. */
  readonly weights?: WeightFiles;
  /** File prefix for onnxruntime's profile of every node; absent: no profile. */
  readonly profile?: string;
}

/** A graph that is ready to run. Outputs of one run may be fed to the next without a copy. */
export interface Session extends Disposable {
  /** Runs once; every input by name. Throws an internal error where a feed does not fit. */
  run(feeds: Readonly<Record<string, Tensor>>): Promise<Readonly<Record<string, Tensor>>>;
}

// Dtypes that onnxruntime names otherwise, or does not take, are left out: no graph of ours feeds them.
const FEEDABLE = { float32: "float32", int32: "int32", int64: "int64", bool: "bool", uint8: "uint8", int8: "int8", float64: "float64" } as const;
type Feedable = keyof typeof FEEDABLE;

function isFeedable(dtype: string): dtype is Feedable {
  return dtype in FEEDABLE;
}

class OnnxSession implements Session {
  readonly #session: InferenceSession;
  readonly #graph: Graph;
  readonly #released = trackResource("session");
  #disposed = false;

  constructor(session: InferenceSession, graph: Graph) {
    this.#session = session;
    this.#graph = graph;
  }

  async run(feeds: Readonly<Record<string, Tensor>>): Promise<Readonly<Record<string, Tensor>>> {
    const ortFeeds: Record<string, OrtTensor> = {};
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
        bindings.set(dim, { value, input: name });
      });
      if (!isFeedable(fed.dtype)) throw new Error(`session: input ${name}: ${fed.dtype} cannot be fed`);
      // The dtype names the array's type; the constructor's overloads cannot see that through a union.
      ortFeeds[name] = new OrtTensor(fed.dtype as "float32", fed.data as Float32Array, fed.shape);
    }
    const results = await this.#session.run(ortFeeds);
    const outputs: Record<string, Tensor> = {};
    for (const { name } of this.#graph.outputs) {
      const result = must(results[name], name);
      if (!isFeedable(result.type)) throw new Error(`session: output ${name} has dtype ${result.type}`);
      outputs[name] = { dtype: result.type, shape: result.dims, data: result.data as ArrayOf[DType] };
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

/**
 * Opens a graph. Prepacking stays off so that weights remain shared pages of their file; the memory pattern stays off
 * because shapes change from run to run.
 */
export async function openSession(graph: Graph, options: SessionOptions): Promise<Session> {
  verifyGraph(graph);
  const { weights } = options;
  const bytes = encodeOnnx(graph, (name) => must(weights, `weights for ${name}`).locate(name));
  try {
    const session = await InferenceSession.create(bytes, {
      executionProviders: ["cpu"],
      intraOpNumThreads: options.threads,
      interOpNumThreads: 1,
      executionMode: "sequential",
      graphOptimizationLevel: "all",
      enableMemPattern: false,
      logSeverityLevel: 3,
      ...(options.profile === undefined ? {} : { enableProfiling: true, profileFilePrefix: options.profile }),
      extra: {
        session: {
          disable_prepacking: "1",
          intra_op: { allow_spinning: "0" },
          ...(weights === undefined ? {} : { model_external_initializers_file_folder_path: weights.folder }),
        },
      },
    });
    return new OnnxSession(session, graph);
  } catch (cause) {
    throw new FedtuneError("internal", {
      where: `graph ${hashGraph(graph).slice(0, 12)}`, expected: "onnxruntime to accept it", got: cause instanceof Error ? cause.message : String(cause),
      remedy: "This is a bug in fedtune or a damaged cache", cause,
    });
  }
}
