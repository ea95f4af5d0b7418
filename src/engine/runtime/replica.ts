/**
 * A second session of a graph, in a thread of its own: runs of both then go on at the same time, each with its own threads. On a CPU
 * two sessions of one thread each get more done than one of two (LOG.md). Weights are the same pages of their file, or the same shared memory.
 */
import { Worker } from "node:worker_threads";
import { FedtuneError } from "../../core/base/errors.ts";
import { onceReady, trackResource } from "../../core/base/disposal.ts";
import type { Tensor } from "../../core/base/tensor.ts";
import type { Graph } from "../graph/types.ts";
import { encodeSession, type EncodedSession, type SessionOptions } from "./onnx-session.ts";
import type { ReplicaReply, ReplicaRequest } from "./replica-protocol.ts";

/** Runs one after another, in the order in which they were asked for, beside whatever the calling thread does. */
export interface Replica extends AsyncDisposable {
  /** As `Session.run`; what is fed is copied. */
  run(feeds: Readonly<Record<string, Tensor>>): Promise<Readonly<Record<string, Tensor>>>;
}

// The built package holds .js files; run from source the ending is .ts.
const THREAD_URL = new URL(`./replica-worker${import.meta.url.slice(import.meta.url.lastIndexOf("."))}`, import.meta.url);

interface Waiting {
  resolve(outputs: Readonly<Record<string, Tensor>>): void;
  reject(error: Error): void;
}

class ThreadReplica implements Replica {
  readonly #worker: Worker;
  readonly #waiting = new Map<number, Waiting>();
  readonly #exited: Promise<void>;
  readonly #released = trackResource("replica");
  #next = 0;
  #closed: Promise<void> | undefined;

  constructor(encoded: EncodedSession) {
    this.#worker = new Worker(THREAD_URL, { workerData: encoded });
    this.#worker.on("message", (reply: ReplicaReply) => {
      const waiting = this.#waiting.get(reply.id);
      this.#waiting.delete(reply.id);
      if ("error" in reply) waiting?.reject(new FedtuneError("internal", { where: "replica of a session", expected: "a run without faults", got: reply.error }));
      else waiting?.resolve(reply.outputs);
    });
    this.#worker.on("error", (error) => this.#failAll(error));
    this.#exited = new Promise((resolve) => {
      this.#worker.once("exit", () => {
        this.#failAll(new Error("the replica's thread ended"));
        resolve();
      });
    });
  }

  #failAll(error: unknown): void {
    for (const waiting of this.#waiting.values()) waiting.reject(error instanceof Error ? error : new Error(String(error)));
    this.#waiting.clear();
  }

  #answer(id: number): Promise<Readonly<Record<string, Tensor>>> {
    return new Promise((resolve, reject) => this.#waiting.set(id, { resolve, reject }));
  }

  async ready(): Promise<void> {
    await this.#answer(-1);
  }

  run(feeds: Readonly<Record<string, Tensor>>): Promise<Readonly<Record<string, Tensor>>> {
    if (this.#closed !== undefined) throw new FedtuneError("internal", { where: "replica of a session", expected: "an open one", got: "one that was closed" });
    const id = this.#next++;
    const answer = this.#answer(id);
    this.#worker.postMessage({ id, feeds } satisfies ReplicaRequest);
    return answer;
  }

  /** Ends after the runs that were asked for: a thread ended inside a run aborts the process. */
  [Symbol.asyncDispose](): Promise<void> {
    if (this.#closed === undefined) {
      this.#worker.postMessage("close" satisfies ReplicaRequest);
      this.#closed = this.#exited.then(() => this.#released());
    }
    return this.#closed;
  }
}

/** Opens a graph in a thread of its own, on the CPU. Throws FedtuneError("internal") where onnxruntime refuses it. */
export async function openReplica(graph: Graph, options: Pick<SessionOptions, "threads" | "weights" | "shared">): Promise<Replica> {
  return await onceReady(new ThreadReplica(encodeSession(graph, options)));
}
