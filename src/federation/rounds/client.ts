/** A client's work: tasks and private rows in, updates or failure replies out. The same function serves a simulation and a remote client. */
import type { NamedTensors } from "../../core/base/tensor.ts";
import type { StepReport, Trainer, TrainJob, TrainResult } from "../../llm/training/types.ts";
import { PROTOCOL_VERSION, type Reply, type Task } from "../protocol/messages.ts";
import type { GroupWorker } from "../protocol/transport.ts";
import type { Strategy } from "../strategies/types.ts";

/** A client's own training rows. */
export interface ClientRows {
  /** Indices into the trainer's data set. */
  readonly examples: Int32Array;
  /** Tokens in them. */
  readonly tokens: number;
}

/** What clients keep for themselves between rounds: their optimiser's moments. */
export type ClientMemory = Map<number, NamedTensors<"float32">>;

/** Where clients live: their rows, what they remember, and what may leave them. */
export interface ClientSite {
  readonly rows: ReadonlyMap<number, ClientRows>;
  readonly strategy: Pick<Strategy, "payload">;
  /** Absent: moments start anew in each round. */
  readonly memory?: ClientMemory;
  readonly onStep?: (report: StepReport) => void;
}

/** A worker that trains the clients of a group side by side with one trainer. */
export function createGroupWorker(trainer: Pick<Trainer, "train">, site: ClientSite): GroupWorker {
  return async (tasks, signal) => {
    const jobs = tasks.map((task) => jobOf(task, site));
    const results = await trainer.train(jobs, { ...(site.onStep && { onStep: site.onStep }), ...(signal && { signal }) });
    return tasks.map((task, i) => replyTo(task, results[i] ?? missing, site));
  };
}

const missing: TrainResult = { ok: false, code: "internal", reason: "the trainer returned no result for this client" };

function rowsOf(task: Task, site: ClientSite): ClientRows {
  return site.rows.get(task.client) ?? { examples: new Int32Array(), tokens: 0 };
}

function jobOf(task: Task, site: ClientSite): TrainJob {
  const { client, round, steps, stepsDone, totalSteps, adapter } = task;
  const optimizer = site.memory?.get(client);
  return { client, round, steps, stepsDone, totalSteps, adapter, examples: rowsOf(task, site).examples, ...(optimizer && { optimizer }) };
}

function replyTo(task: Task, result: TrainResult, site: ClientSite): Reply {
  const { round, client } = task;
  if (!result.ok) return { version: PROTOCOL_VERSION, kind: "failure", round, client, code: result.code, reason: result.reason.slice(0, 2000) };
  site.memory?.set(client, result.optimizer);
  const { examples: held, tokens: heldTokens } = rowsOf(task, site);
  const { steps, skippedSteps, examples, tokens } = result;
  const loss = Number.isFinite(result.loss) ? result.loss : null;
  const counts = { heldExamples: held.length, heldTokens, examples, tokens, steps, skippedSteps, loss };
  return { version: PROTOCOL_VERSION, kind: "update", round, client, ...counts, adapter: site.strategy.payload(result.adapter) };
}
