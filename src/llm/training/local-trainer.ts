/** A model with its data on this thread: what a worker runs, and what tests call directly. */
import { FedtuneError, interrupted, must } from "../../core/base/errors.ts";
import { isHalf } from "../../core/base/tensor.ts";
import { openCheckpoint } from "../../core/formats/checkpoint.ts";
import type { BoundAdapter } from "../adapters/adapter.ts";
import { bindAdapter } from "../adapters/all.ts";
import type { StartContext } from "../adapters/all.ts";
import type { AdapterSettings } from "../adapters/settings.ts";
import { openArchitecture } from "../architectures/all.ts";
import type { ArchitectureModel } from "../architectures/architecture.ts";
import { prepareBase, readBaseTensor } from "../architectures/prepared-base.ts";
import { stackClients } from "../data/stack.ts";
import { loadTokenizer } from "../text/tokenizer.ts";
import type { Tokenizer } from "../text/tokenizer.ts";
import { batchFeeds } from "./batch-feeds.ts";
import { halfPrecisionOf } from "./compute-precision.ts";
import { EarlierTexts } from "./earlier-text.ts";
import { adaptedBy, generateByAdapter } from "./generate-by-adapter.ts";
import type { AdaptedModel } from "./graphs.ts";
import { GrowingTexts } from "./growing-texts.ts";
import { OpenedAdapter } from "./opened-adapter.ts";
import { packsOf } from "./packs.ts";
import { requireExact } from "./resolve-runtime.ts";
import { scoreTexts } from "./score.ts";
import { SessionPool } from "./session-pool.ts";
import type { TrainerSetup } from "./setup.ts";
import { trainGroup } from "./train-loop.ts";
import type { EvaluateJob, EvaluateResult, ScoreJob, ScoreResult, Trainer } from "./types.ts";

/** The parts of a trainer that need no data: for tests and tools that build graphs themselves. */
export interface OpenedModel extends AdaptedModel {
  readonly sessions: SessionPool;
  /** Absent where the setup has no adapter. */
  readonly opened: OpenedAdapter | undefined;
}

/** What adapter tensors may start from in a model folder. */
export function startContext(modelFolder: string, model: ArchitectureModel): StartContext {
  return {
    base: (name) => readBaseTensor(openCheckpoint(modelFolder), model, name),
    tokenize: (text) => loadTokenizer(modelFolder).encode(text, { addSpecialTokens: false }),
  };
}

/** The adapter that a setup needs: one that only infers has no encoder. */
function bindFor(settings: AdapterSettings, model: ArchitectureModel, { inferenceOnly = false }: TrainerSetup): BoundAdapter {
  const adapter = bindAdapter(settings, model);
  const { encoder: _encoder, ...inferring } = adapter;
  return inferenceOnly ? inferring : adapter;
}

/** Opens a model folder under the setup's adapter. Throws FedtuneError("model" or "config") for what does not fit. */
export async function openModel(setup: TrainerSetup): Promise<OpenedModel> {
  const { modelFolder, adapter: settings, seed } = setup;
  const model = await openArchitecture(modelFolder);
  const adapter = settings === undefined ? undefined : bindFor(settings, model, setup);
  const { basePrecision, float32Modules = [], compute } = setup.runtime;
  await requireExact(basePrecision);
  const base = await prepareBase(modelFolder, model, { precision: basePrecision, float32Modules, dtype: compute });
  const half = isHalf(compute) ? halfPrecisionOf(model, compute) : undefined;
  const sessions = new SessionPool({ model, adapter, rounded: base.rounded, apart: base.apart, half, weights: base.weights, runtime: setup.runtime, training: setup.training, packTokens: setup.packTokens });
  const opened = settings === undefined || adapter === undefined ? undefined : new OpenedAdapter({ settings, adapter, seed, context: startContext(modelFolder, model), encoder: () => sessions.encoder() });
  return { model, adapter, sessions, opened };
}

/** A trainer on the calling thread; every run of a session blocks it. `aborted` is asked before each pass. */
export async function createLocalTrainer(setup: TrainerSetup, aborted: () => boolean): Promise<Trainer> {
  const { model, opened, sessions } = await openModel(setup);
  const earlierTexts = new EarlierTexts();
  const growingTexts = new GrowingTexts({ model, opened, sessions, tokensPerPass: setup.runtime.tokensPerMicroBatch, aborted });
  let tokenizer: Tokenizer | undefined;

  const adapterOf = (): OpenedAdapter => {
    if (opened !== undefined) return opened;
    throw new FedtuneError("internal", { where: "trainer", expected: "a setup with an adapter", got: "none" });
  };

  async function evaluate(job: EvaluateJob): Promise<EvaluateResult> {
    const session = await sessions.loss(job.adapter !== undefined);
    const feeds = job.adapter === undefined ? {} : await adapterOf().feeds(job.adapter);
    const adapter = job.adapter === undefined ? undefined : adapterOf().adapter;
    let [nll, labelledTokens, tokens] = [0, 0, 0];
    for (const pack of packsOf(setup, { model, adapter }, job.examples)) {
      if (aborted()) throw interrupted("evaluation");
      const batch = stackClients([pack], { multiple: sessions.attentionBlocks });
      const out = await session.run({ ...batchFeeds(batch, adapter), ...feeds });
      // The graph declares nll as float32.
      const losses = must(out["nll"], "nll").data as Float32Array;
      nll += losses.reduce((sum, value, i) => (batch.weights[i] === 1 ? sum + value : sum), 0);
      labelledTokens += pack.targets.length;
      tokens += pack.tokens;
    }
    return { nll, labelledTokens, tokens, examples: job.examples.length };
  }

  async function score({ adapter, shared, texts }: ScoreJob, onScored: (done: number) => void): Promise<readonly ScoreResult[]> {
    const bare = adapter === undefined;
    const adapted = bare ? undefined : await adaptedBy({ opened, sessions }, [{ adapter }]);
    const earlier = await earlierTexts.get(await sessions.generate(!bare), { model, adapted, aborted }, shared);
    return await scoreTexts({ session: await sessions.score(!bare), earlier, layers: model.layers, feeds: adapted?.feeds ?? {}, tokensPerPass: setup.runtime.tokensPerMicroBatch, aborted, onScored }, texts);
  }

  return {
    initialAdapter: () => adapterOf().initial(),
    savedAdapter: (adapter) => adapterOf().saved(adapter),
    train: (jobs, { onStep = () => undefined }) => trainGroup({ setup, model, opened: adapterOf(), sessions, onStep, aborted }, jobs),
    async evaluate(jobs) {
      const results: EvaluateResult[] = [];
      for (const job of jobs) results.push(await evaluate(job));
      return results;
    },
    score: async (job, { onScored = () => undefined }) => score(job, onScored),
    grow: (job) => growingTexts.grow(job),
    generate: async (job, { onToken = () => undefined }) => {
      tokenizer ??= loadTokenizer(setup.modelFolder);
      return generateByAdapter({ model, tokenizer, opened, sessions, earlierTexts, aborted, onToken }, job);
    },
    [Symbol.asyncDispose]: () => sessions[Symbol.asyncDispose](),
  };
}
