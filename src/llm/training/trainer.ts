/** A trainer whose work runs in a worker thread, so that progress, signals and sockets stay alive. */
import { Worker } from "node:worker_threads";
import { FedtuneError } from "../../core/base/errors.ts";
import { onceReady, trackResource } from "../../core/base/disposal.ts";
import type { CallName, ErrorData, WorkerCalls, WorkerData, WorkerReply } from "./rpc.ts";
import type { TrainerSetup } from "./setup.ts";
import type { StepReport, Trainer } from "./types.ts";

interface Call {
  resolve(output: unknown): void;
  reject(error: unknown): void;
  readonly onStep?: (report: StepReport) => void;
  readonly onScored?: (done: number) => void;
  readonly onToken?: (row: number, token: number) => void;
}

type CallOptions = { readonly signal?: AbortSignal | undefined } & Pick<Call, "onStep" | "onScored" | "onToken">;

/** A FedtuneError rebuilt from another thread: the sentence is already made. */
class RemoteError extends FedtuneError {
  constructor(code: ConstructorParameters<typeof FedtuneError>[0], { message, details }: ErrorData) {
    super(code, { where: "", expected: "", got: "", details });
    this.message = message;
  }
}

function revive(error: ErrorData): Error {
  if (error.code !== undefined) return new RemoteError(error.code, error);
  const bug = new Error(error.message);
  if (error.stack !== undefined) bug.stack = error.stack;
  return bug;
}

// The built package holds .js files; run from source the ending is .ts.
const WORKER_URL = new URL(`./worker${import.meta.url.slice(import.meta.url.lastIndexOf("."))}`, import.meta.url);

class WorkerTrainer implements Trainer {
  readonly #worker: Worker;
  readonly #stop: Int32Array<SharedArrayBuffer>;
  readonly #calls = new Map<number, Call>();
  readonly #released = trackResource("trainer");
  readonly #exited: Promise<void>;
  #nextId = 0;
  #ended = false;
  /** Settles, never fails, with the call before. */
  #last: Promise<unknown> = Promise.resolve();
  #closed: Promise<void> | undefined;

  constructor(setup: TrainerSetup) {
    this.#stop = new Int32Array(new SharedArrayBuffer(4));
    const workerData: WorkerData = { setup, stop: this.#stop };
    this.#worker = new Worker(WORKER_URL, { workerData });
    this.#exited = new Promise((resolve) => this.#worker.once("exit", () => resolve()));
    this.#worker.on("message", (message: WorkerReply) => this.#receive(message));
    this.#worker.on("error", (error) => this.#failAll(error));
    this.#worker.on("exit", () => {
      this.#ended = true;
      this.#failAll(new Error("the training worker ended"));
    });
  }

  /** Resolves once the model is open. */
  ready(): Promise<void> {
    return new Promise((resolve, reject) => this.#calls.set(-1, { resolve: () => resolve(), reject }));
  }

  #failAll(error: unknown): void {
    for (const call of this.#calls.values()) call.reject(error);
    this.#calls.clear();
  }

  #receive(message: WorkerReply): void {
    const id = message.kind === "ready" ? -1 : message.id;
    const call = this.#calls.get(id);
    if (call === undefined) return;
    if (message.kind === "step") return call.onStep?.(message.report);
    if (message.kind === "scored") return call.onScored?.(message.done);
    if (message.kind === "token") return call.onToken?.(message.row, message.token);
    this.#calls.delete(id);
    if (message.kind === "error") call.reject(revive(message.error));
    else call.resolve(message.kind === "result" ? message.output : undefined);
  }

  /** Calls wait for one another: the worker has one flag to stop by, which belongs to the call that runs. */
  #call<K extends CallName>(name: K, input: WorkerCalls[K]["input"], options: CallOptions = {}): Promise<WorkerCalls[K]["output"]> {
    const turn = this.#last.then(() => this.#send(name, input, options));
    this.#last = turn.catch(() => undefined);
    return turn;
  }

  async #send<K extends CallName>(name: K, input: WorkerCalls[K]["input"], { signal, ...listeners }: CallOptions): Promise<WorkerCalls[K]["output"]> {
    if (this.#ended) throw new Error("the training worker ended");
    if (this.#closed !== undefined && name !== "close") throw new FedtuneError("internal", { where: `trainer: ${name}`, expected: "an open trainer", got: "one that was closed" });
    const stop = (): void => void Atomics.store(this.#stop, 0, 1);
    Atomics.store(this.#stop, 0, signal?.aborted === true ? 1 : 0);
    signal?.addEventListener("abort", stop, { once: true });
    try {
      return await new Promise<WorkerCalls[K]["output"]>((resolve, reject) => {
        const id = this.#nextId++;
        // The worker answers a call with the output of its name: rpc.ts holds both sides to one table.
        this.#calls.set(id, { ...listeners, resolve: (output) => resolve(output as WorkerCalls[K]["output"]), reject });
        this.#worker.postMessage({ id, name, input });
      });
    } finally {
      signal?.removeEventListener("abort", stop);
    }
  }

  initialAdapter: Trainer["initialAdapter"] = () => this.#call("initialAdapter", undefined);
  savedAdapter: Trainer["savedAdapter"] = (adapter) => this.#call("savedAdapter", adapter);
  train: Trainer["train"] = (jobs, { onStep, signal }) => this.#call("train", jobs, { signal, ...(onStep === undefined ? {} : { onStep }) });
  evaluate: Trainer["evaluate"] = (jobs, { signal }) => this.#call("evaluate", jobs, { signal });
  score: Trainer["score"] = (job, { onScored, signal }) => this.#call("score", job, { signal, ...(onScored === undefined ? {} : { onScored }) });
  grow: Trainer["grow"] = (job, { signal }) => this.#call("grow", job, { signal });
  generate: Trainer["generate"] = (job, { onToken, signal }) => this.#call("generate", job, { signal, ...(onToken === undefined ? {} : { onToken }) });

  /**
   * Stops the running call after its pass, refuses those that wait, then lets the worker end by itself: a worker killed
   * inside a session aborts the process.
   */
  [Symbol.asyncDispose](): Promise<void> {
    Atomics.store(this.#stop, 0, 1);
    return (this.#closed ??= this.#call("close", undefined).then(() => undefined, () => undefined).then(() => this.#exited).then(() => this.#released()));
  }
}

/** Opens a model in a worker thread. Throws FedtuneError("model" or "config") for what does not fit. */
export async function createTrainer(setup: TrainerSetup): Promise<Trainer> {
  return await onceReady(new WorkerTrainer(setup));
}
