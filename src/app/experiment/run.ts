/** Starts and resumes runs: the two ways into an experiment, for the command line and for programs. */
import { resolve as resolvePath } from "node:path";
import { FedtuneError } from "../../core/base/errors.ts";
import type { RunEvent, Tick } from "../../federation/rounds/events.ts";
import { resolveCompute, resolveDevice } from "../../llm/training/resolve-runtime.ts";
import { prepareData, type PrepareDataOptions, type PreparedData } from "./data.ts";
import { describeLeftOut } from "../../llm/data/partition/left-out.ts";
import { streamEvents } from "./event-stream.ts";
import { executeRun } from "./execute.ts";
import type { RunIndex } from "./find-run.ts";
import { prepareModel, type PreparedModel } from "./model.ts";
import { formatPlan, planHash, readPlan, resolvePlan, type Plan } from "./plan.ts";
import { createRunFolder, MANIFEST, nextFolder, PLAN } from "./run-folder.ts";
import { openRunStore } from "./run-store.ts";
import type { Experiment } from "./schema.ts";
import type { CreateTrainer } from "./trainers.ts";

export interface RunOptions {
  /** Stops the run cooperatively; it can be resumed. */
  readonly signal?: AbortSignal;
  /** The time, for the run's record; default: the machine's. */
  readonly clock?: () => Date;
  /** Makes the trainers; default: fedtune's own. */
  readonly createTrainer?: CreateTrainer;
}

/** A run as it goes on: iterate it to let it go on. */
export interface Run extends AsyncIterable<RunEvent> {
  /** The run's folder. Before the first event of a new run, the folder that it is going to have. */
  readonly folder: string;
}

/** Something told before the run has a folder, and written to its metrics afterwards. */
type Tell = (tick: Tick) => void;

/**
 * Runs an experiment in a folder of its own and yields what happens; nothing happens before iteration starts. Earlier runs are never touched.
 * @throws (while iterating) FedtuneError of any code, as data, model and training have it; "interrupted" once the signal is aborted
 */
export function run(experiment: Experiment, options: RunOptions = {}): Run {
  return start(experiment, options);
}

/** The same, but a run that an equal plan has made already is gone on with, or left as it is where it is finished. */
export function runUnlessDone(experiment: Experiment, index: RunIndex, options: RunOptions = {}): Run {
  return start(experiment, options, index);
}

function start(experiment: Experiment, options: RunOptions, index?: RunIndex): Run {
  const { config, label } = experiment;
  const clock = options.clock ?? (() => new Date());
  const place = { output: config.output, stem: [config.name, ...(label === undefined ? [] : [slug(label)]), planHash(config).slice(0, 8)].join("-") };
  let folder = nextFolder(place.output, place.stem);
  const events = streamEvents<RunEvent>(async (emit, signal) => {
    const early: Tick[] = [];
    const tell: Tell = (tick) => {
      early.push(tick);
      emit(tick);
    };
    const device = await resolveDevice(config.runtime);
    const { model, data } = await prepare(experiment, { tell, clock, signal });
    const compute = await resolveCompute(config.runtime, { device, checkpoint: model.dtype });
    const plan = await resolvePlan(config, { model, data, device, compute });
    const earlier = index?.find(config.output, plan);
    folder = earlier?.folder ?? createRunFolder(place, { [PLAN]: formatPlan(plan), [MANIFEST]: `${JSON.stringify(data.record)}\n` });
    if (earlier?.finished === true) return;
    await go({ folder, plan: earlier === undefined ? plan : readPlan(folder), model, data, early: earlier === undefined ? early : [] }, { emit, signal, clock, options });
  }, options.signal);
  return {
    get folder() {
      return folder;
    },
    [Symbol.asyncIterator]: () => events,
  };
}

/** A label as part of a file's name. */
function slug(label: string): string {
  return label.replace(/[^A-Za-z0-9.]+/g, "-").replace(/^[-.]+|-+$/g, "").slice(0, 60);
}

/**
 * Takes up a run where it was left, at whatever instant, and goes on to the same bytes as if it had not been. Yields only what is new.
 * @throws (while iterating) FedtuneError("config") where the folder holds no run or its plan was changed; ("data"), ("model") where
 *   the rows or the model are not those that it was started with; ("resources") where its device is not there
 */
export function resume(runFolder: string, options: RunOptions = {}): Run {
  const folder = resolvePath(runFolder);
  const clock = options.clock ?? (() => new Date());
  const events = streamEvents<RunEvent>(async (emit, signal) => {
    const plan = readPlan(folder);
    const { resolved, ...config } = plan;
    const device = await resolveDevice({ ...config.runtime, device: resolved.device });
    const early: Tick[] = [];
    const tell: Tell = (tick) => {
      if (tick.type === "progress") emit(tick);
    };
    const { model, data } = await prepare({ config: { ...config, model: resolved.model_folder } }, { tell, clock, signal });
    await resolveCompute(resolved, { device, checkpoint: model.dtype });
    requireSame("model", { folder, was: resolved.model_sha256, is: model.sha256 });
    requireSame("data", { folder, was: resolved.data_sha256, is: data.sha256 });
    await go({ folder, plan, model, data, early }, { emit, signal, clock, options });
  }, options.signal);
  return { folder, [Symbol.asyncIterator]: () => events };
}

interface Prepared {
  readonly model: PreparedModel;
  readonly data: PreparedData;
}

async function prepare(experiment: Experiment, { tell, clock, signal }: { readonly tell: Tell; readonly clock: () => Date; readonly signal: AbortSignal }): Promise<Prepared> {
  const at = (): string => clock().toISOString();
  const onDownload = tellDownloads(tell, at);
  const model = await prepareModel(experiment.config, { signal, onProgress: onDownload });
  const data = await prepareData(experiment, { tokenizer: model.tokenizer, signal, onDownload, onProgress: (done, total) => tell({ type: "progress", at: at(), stage: "tokenising", done, total }) });
  for (const { level, text } of notesOn(data, experiment.config.data.max_tokens)) tell({ type: "note", at: at(), level, text });
  return { model, data };
}

/** Tells of downloads in kilobytes, a hundred times a file at most. */
function tellDownloads(tell: Tell, at: () => string): NonNullable<PrepareDataOptions["onDownload"]> {
  let told = "";
  return (file, done, total) => {
    const mark = `${file} ${total === undefined ? Math.floor(done / 1e6) : Math.floor((100 * done) / Math.max(1, total))}`;
    if (mark === told) return;
    told = mark;
    tell({ type: "progress", at: at(), stage: `fetching ${file}: kB`, done: Math.round(done / 1000), total: Math.round((total ?? done) / 1000) });
  };
}

/** What people should know of their data. */
function notesOn({ report, partition, record, terms }: PreparedData, maxTokens: number): readonly Pick<Extract<Tick, { type: "note" }>, "level" | "text">[] {
  const { examples, truncated, dropped, tokens } = report;
  const notes: { level: "info" | "warning"; text: string }[] = [{ level: "info", text: `${examples} rows, ${tokens} tokens, ${partition.clients.length} clients.` }];
  if (truncated > 0) notes.push({ level: "warning", text: `${truncated} of ${examples} rows were longer than ${maxTokens} tokens (data.max_tokens) and were cut.` });
  if (dropped > 0) notes.push({ level: "warning", text: `${dropped} of ${examples} rows were left out: no token to learn within ${maxTokens} tokens (data.max_tokens).` });
  if (record.manifest.leftOut.length > 0) notes.push({ level: "info", text: `${describeLeftOut(record.manifest)}.` });
  if (record.manifest.unused.length > 0) notes.push({ level: "info", text: `${record.manifest.unused.length} rows belong to nobody in this partition.` });
  if (terms !== undefined) notes.push({ level: "warning", text: terms });
  if (partition.clients.every(({ validation }) => validation.length === 0)) notes.push({ level: "warning", text: "No client has validation rows: the adapter of the last round is kept." });
  return notes;
}

interface Going extends Prepared {
  readonly folder: string;
  readonly plan: Plan;
  readonly early: readonly Tick[];
}
interface Surroundings {
  readonly emit: (event: RunEvent) => void;
  readonly signal: AbortSignal;
  readonly clock: () => Date;
  readonly options: RunOptions;
}

async function go({ early, ...going }: Going, { emit, signal, clock, options: { createTrainer } }: Surroundings): Promise<void> {
  let silent = true;
  using store = openRunStore(going.folder, (event) => {
    if (!silent) emit(event);
  });
  // They are shown already.
  for (const tick of early) store.tick(tick);
  silent = false;
  await executeRun({ ...going, store, clock, signal, ...(createTrainer && { createTrainer }) });
}

function requireSame(what: "model" | "data", { folder, was, is }: { readonly folder: string; readonly was: string; readonly is: string }): void {
  if (was === is) return;
  const expected = what === "model" ? "the model that the run was started with" : "the rows, tokens and partition that the run was started with";
  throw new FedtuneError(what, { where: folder, expected: `${expected} (SHA-256 ${was.slice(0, 12)}…)`, got: `${is.slice(0, 12)}…`, remedy: `Put the ${what} back as ${what === "data" ? "they were" : "it was"}, or start a new run` });
}
