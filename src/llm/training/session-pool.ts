/** One model's sessions, opened when first needed and kept: training by number of clients, loss, optimiser, generation. */
import { FedtuneError, must } from "../../core/base/errors.ts";
import type { Graph } from "../../engine/graph/types.ts";
import type { WeightFiles } from "../../engine/graph/weights.ts";
import { optimizerGraph, optimizerState } from "../../engine/passes/optimizers.ts";
import { openDeviceMemory } from "../../engine/runtime/device-memory.ts";
import { openSession } from "../../engine/runtime/onnx-session.ts";
import type { Session } from "../../engine/runtime/onnx-session.ts";
import { openReplica, type Replica } from "../../engine/runtime/replica.ts";
import { SharedWeights } from "../../engine/runtime/shared-weights.ts";
import type { DeviceMemory } from "../../engine/runtime/resident.ts";
import { decodeGraph, encoderGraph, generateGraph, lossGraph, prefixGraph, trainGraph } from "./graphs.ts";
import type { AdaptedModel, MaskInput } from "./graphs.ts";
import { activationBudget, attentionBlocks, lossOptions } from "./pass-sizes.ts";
import { scoreGraph } from "./score-graph.ts";
import type { ResolvedRuntime } from "./setup.ts";
import type { TrainingSettings } from "./settings.ts";

export interface PoolOptions extends AdaptedModel {
  readonly weights: WeightFiles;
  readonly runtime: ResolvedRuntime;
  readonly training: TrainingSettings;
  /** Longest row of tokens. */
  readonly packTokens: number;
}

/** A session that trains, and what belongs to it. */
export interface TrainingSession {
  readonly session: Session;
  /** What else runs its passes at the same time. */
  readonly replicas: readonly Replica[];
  /** The masks that a run is fed. */
  readonly masks: readonly MaskInput[];
}

/** Holds sessions; disposing of it frees them all. */
export class SessionPool implements Disposable, AsyncDisposable {
  readonly #options: PoolOptions;
  readonly #open = new Map<string, Promise<Session>>();
  readonly #training = new Map<boolean, Promise<TrainingSession>>();
  readonly #replicas: Promise<Replica>[] = [];
  /** Where several sessions run at the same time: the base once, for all of them. */
  readonly #shared: { readonly shared?: SharedWeights };
  #disposed = false;
  /** Where parameters, gradients and moments stay between runs. */
  readonly memory: DeviceMemory;

  constructor(options: PoolOptions) {
    this.#options = options;
    this.#shared = (options.runtime.dataParallel ?? 1) > 1 ? { shared: new SharedWeights(options.weights) } : {};
    this.memory = openDeviceMemory(options.runtime.device);
  }

  /** `kept`: outputs that stay in the device's memory between runs; `threads`: fewer than all. */
  #session(key: string, graph: () => Graph, { kept = [], threads }: { readonly kept?: readonly string[]; readonly threads?: number } = {}): Promise<Session> {
    if (this.#disposed) throw new FedtuneError("internal", { where: "sessions", expected: "an open trainer", got: "one that was closed" });
    const { weights, runtime: { threads: all, device } } = this.#options;
    let session = this.#open.get(key);
    if (session === undefined) {
      session = openSession(graph(), { threads: threads ?? all, device, weights, ...this.#shared, ...(kept.length === 0 ? {} : { resident: { memory: this.memory, outputs: kept } }) });
      this.#open.set(key, session);
    }
    return session;
  }

  /** What the length of rows that `train` and `loss` are fed must be a multiple of. */
  get attentionBlocks(): number {
    return attentionBlocks(this.#options);
  }

  /** The training session for a group of clients. */
  train(clients: number): Promise<TrainingSession> {
    const several = clients > 1;
    const training = this.#training.get(several) ?? this.#openTraining(several);
    this.#training.set(several, training);
    return training;
  }

  async #openTraining(several: boolean): Promise<TrainingSession> {
    const { weights, runtime: { clientsSideBySide, dataParallel = 1, threads: all } } = this.#options;
    const clients = several ? clientsSideBySide : 1;
    const { graph, masks } = trainGraph(this.#options, { ...lossOptions(this.#options, clients), budget: activationBudget(this.#options, clients) });
    const threads = Math.max(1, Math.floor(all / dataParallel));
    // The replicas' threads open theirs while this one opens its own.
    const opening = Array.from({ length: dataParallel - 1 }, () => openReplica(graph, { threads, weights, ...this.#shared }));
    this.#replicas.push(...opening);
    const replicas = Promise.all(opening);
    // One that fails while this thread opens its own is heard of below.
    replicas.catch(() => undefined);
    const session = await this.#session(`train ${several}`, () => graph, { kept: ["accumulated_out"], threads });
    return { session, masks, replicas: await replicas };
  }

  /** The model, under its adapter or bare. */
  #model(adapted: boolean): AdaptedModel {
    return { ...this.#options, adapter: adapted ? this.#options.adapter : undefined };
  }

  loss(adapted: boolean): Promise<Session> {
    return this.#session(`loss ${adapted}`, () => lossGraph(this.#model(adapted), lossOptions(this.#options, 1)));
  }

  /** Losses of texts that go on from an earlier one. */
  score(adapted: boolean): Promise<Session> {
    return this.#session(`score ${adapted}`, () => scoreGraph(this.#model(adapted), this.#options.runtime.tokensPerMicroBatch));
  }

  /** `several`: for several adapters side by side. */
  generate(adapted: boolean, several = false): Promise<Session> {
    return this.#session(`generate ${adapted} ${several}`, () => generateGraph(this.#model(adapted), several ? "C" : 1));
  }

  /** For one more token of each of `rows` rows; `several` as for `generate`. */
  decode(adapted: boolean, { several, rows }: { readonly several: boolean; readonly rows: number }): Promise<Session> {
    const single = rows === 1 && !several;
    return this.#session(`decode ${adapted} ${several} ${single}`, () => decodeGraph(this.#model(adapted), {
      clients: several ? "C" : 1, rows: single ? 1 : "B", weightsFirst: !single && this.#options.runtime.device === "cpu",
    }));
  }

  /** Keys and values of the adapter's prefix. */
  prefix(): Promise<Session> {
    return this.#session("prefix", () => prefixGraph(must(this.#options.adapter, "an adapter"), this.#options.model.layers));
  }

  /** The adapter's parameters from its encoder's. */
  encoder(): Promise<Session> {
    return this.#session("encoder", () => encoderGraph(must(this.#options.adapter, "an adapter")));
  }

  optimizer(): Promise<Session> {
    const { optimizer, max_grad_norm } = this.#options.training;
    return this.#session("optimizer", () => optimizerGraph(optimizer, max_grad_norm), { kept: ["parameters", ...optimizerState(optimizer)].map((name) => `${name}_out`) });
  }

  [Symbol.dispose](): void {
    this.#disposed = true;
    for (const session of this.#open.values()) void session.then((s) => s[Symbol.dispose](), () => undefined);
    for (const replica of this.#replicas) void replica.then((r) => r[Symbol.asyncDispose](), () => undefined);
    this.#open.clear();
    void this.memory[Symbol.asyncDispose]();
  }

  /** Disposes of the pool and resolves once every session is freed: a worker must not end before. */
  async [Symbol.asyncDispose](): Promise<void> {
    const open = [...this.#open.values()];
    this[Symbol.dispose]();
    await Promise.allSettled(open);
    await Promise.allSettled(this.#replicas.map((replica) => replica.then((r) => r[Symbol.asyncDispose]())));
    await this.memory[Symbol.asyncDispose]();
  }
}
