/** `fedtune bench load`: the time until a model is ready to train, and the private memory that sessions on it add before they run. */
import { performance } from "node:perf_hooks";
import { basename, resolve } from "node:path";
import { adapterSchema, createTrainer, NO_EXAMPLES, openArchitecture, openModel, resolveRuntime, runtimeSchema, trainingSchema } from "../../llm/index.ts";
import { machine, versions } from "../../index.ts";
import { median, round } from "./figures.ts";
import { privateBytes } from "./memory.ts";
import { readModelFacts } from "./model-facts.ts";
import { isShape, shapeFolder } from "./shapes.ts";

export interface LoadBenchOptions {
  /** Folder of a model, or the name of a shape (random weights). */
  readonly model: string;
  readonly precision: "float32" | "int8" | "int4";
  readonly tokens: number;
  readonly rank: number;
  /** Times that the start is measured; the first, which may fill caches, is told apart. */
  readonly repeats: number;
  readonly threads?: number;
}

/** The second to the last say what one more session adds: garbage comes and goes, so that a single difference may be of either sign. */
const SESSIONS = 6;

const megabytes = (bytes: number | undefined): number | null => (bytes === undefined ? null : round(bytes / 1e6, 1));

/** LoRA on q_proj and v_proj. Memory is measured on this thread, start-up in a worker as every command has it. */
export async function benchLoad({ model, precision, tokens, rank, repeats, threads }: LoadBenchOptions): Promise<Readonly<Record<string, unknown>>> {
  const modelFolder = isShape(model) ? shapeFolder(model) : resolve(model);
  const architecture = await openArchitecture(modelFolder);
  const parameters = architecture.tensors.reduce((sum, { shape }) => sum + shape.reduce((n, d) => n * d, 1), 0);
  const runtime = await resolveRuntime(runtimeSchema.parse({ threads: threads ?? "auto", base_precision: precision }), { hiddenSize: readModelFacts(modelFolder).hiddenSize, clients: 1, stepTokens: tokens, parameters, linears: architecture.linears, ...(isShape(model) ? {} : { opened: { folder: modelFolder, model: architecture } }) });
  const setup = {
    modelFolder, runtime, data: NO_EXAMPLES, packTokens: tokens, seed: 0, training: trainingSchema.parse({}),
    adapter: adapterSchema.parse({ r: rank, lora_alpha: 2 * rank, target_modules: ["q_proj", "v_proj"] }),
  };
  const [ready, opened]: [number[], number[]] = [[], []];
  for (let repeat = 0; repeat <= repeats; repeat++) {
    const begun = performance.now();
    await using _trainer = await createTrainer(setup);
    ready.push(performance.now() - begun);
  }
  const added: (number | undefined)[] = [];
  await using models = new AsyncDisposableStack();
  for (let session = 0; session < SESSIONS; session++) {
    const before = await privateBytes();
    const begun = performance.now();
    const { sessions } = await openModel(setup);
    models.use(sessions);
    await sessions.train(1);
    opened.push(performance.now() - begun);
    const after = await privateBytes();
    added.push(before === undefined || after === undefined ? undefined : after - before);
  }
  const baseBytes = parameters * 4;
  const [first, ...later] = added;
  const second = later.includes(undefined) ? undefined : median(later.filter((bytes) => bytes !== undefined));
  return {
    peer: "fedtune", ...versions(), machine: machine(), model: basename(model), mode: precision === "float32" ? "fp32" : precision, threads: runtime.threads,
    first_ready_ms: round(ready[0] ?? Number.NaN, 1), median_ready_ms: round(median(ready.slice(1)), 1),
    first_session_ms: round(opened[0] ?? Number.NaN, 1), second_session_ms: round(median(opened.slice(1)), 1),
    base_mb: megabytes(baseBytes), first_session_private_mb: megabytes(first), second_session_private_mb: megabytes(second),
    second_session_share_of_base: second === undefined ? null : round(second / baseBytes, 4),
    private_counted: `Anonymous of /proc/self/smaps_rollup after garbage collection, before a session's first run; "second": median of ${SESSIONS - 1} sessions after the first; the base in float32 is the whole`,
  };
}
