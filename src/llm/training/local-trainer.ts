/** A model with its data on this thread: what a worker runs, and what tests call directly. */
import { interrupted, must } from "../../core/base/errors.ts";
import { tensor } from "../../core/base/tensor.ts";
import type { NamedTensors, Tensor } from "../../core/base/tensor.ts";
import { bindAdapter, initialTensors } from "../adapters/all.ts";
import { importPeftTensors } from "../adapters/peft.ts";
import { openArchitecture } from "../architectures/all.ts";
import { prepareBase } from "../architectures/prepared-base.ts";
import { microBatches } from "../data/pack.ts";
import { stackClients } from "../data/stack.ts";
import { loadTokenizer } from "../text/tokenizer.ts";
import type { Tokenizer } from "../text/tokenizer.ts";
import { flatSize, flatten } from "./flat.ts";
import { generateTexts } from "./generation.ts";
import type { AdaptedModel } from "./graphs.ts";
import { SessionPool } from "./session-pool.ts";
import type { TrainerSetup } from "./setup.ts";
import { batchFeeds, trainGroup } from "./train-loop.ts";
import type { EvaluateJob, EvaluateResult, GenerateJob, Trainer } from "./types.ts";

/** The parts of a trainer that need no session: for tests and tools that build graphs themselves. */
export interface OpenedModel extends AdaptedModel {
  readonly sessions: SessionPool;
}

/** Opens a model folder under the setup's adapter. Throws FedtuneError("model" or "config") for what does not fit. */
export async function openModel(setup: TrainerSetup): Promise<OpenedModel> {
  const model = await openArchitecture(setup.modelFolder);
  const adapter = bindAdapter(setup.adapter, model.linears);
  const base = await prepareBase(setup.modelFolder, model);
  const sessions = new SessionPool({
    model, adapter, weights: base.weights, runtime: setup.runtime, training: setup.training, dropout: setup.adapter.lora_dropout > 0, packTokens: setup.packTokens,
  });
  return { model, adapter, sessions };
}

/** A trainer on the calling thread; every run of a session blocks it. `aborted` is asked before each pass. */
export async function createLocalTrainer(setup: TrainerSetup, aborted: () => boolean): Promise<Trainer> {
  const { model, adapter, sessions } = await openModel(setup);
  const specs = adapter.parameters;
  let tokenizer: Tokenizer | undefined;

  const flatAdapter = (tensors: NamedTensors<"float32"> | undefined): Tensor => {
    const data = new Float32Array(flatSize(specs));
    if (tensors !== undefined) flatten(tensors, specs, data);
    return tensor("float32", [1, data.length], data);
  };

  async function evaluate(job: EvaluateJob): Promise<EvaluateResult> {
    const session = await sessions.loss();
    const parameters = flatAdapter(job.adapter);
    let [nll, labelledTokens, tokens] = [0, 0, 0];
    for (const pack of microBatches(setup.data, job.examples, { width: setup.packTokens, tokensPerMicroBatch: setup.runtime.tokensPerMicroBatch })) {
      if (aborted()) throw interrupted("evaluation");
      const batch = stackClients([pack]);
      const out = await session.run({ ...batchFeeds(batch), parameters });
      // The graph declares nll as float32.
      const losses = must(out["nll"], "nll").data as Float32Array;
      nll += losses.reduce((sum, value, i) => (batch.weights[i] === 1 ? sum + value : sum), 0);
      labelledTokens += pack.targets.length;
      tokens += pack.tokens;
    }
    return { nll, labelledTokens, tokens, examples: job.examples.length };
  }

  return {
    initialAdapter: async () => (setup.adapter.init_from === undefined ? initialTensors(adapter, setup.seed) : importPeftTensors(setup.adapter.init_from, adapter)),
    train: (jobs, { onStep = () => undefined }) => trainGroup({ setup, data: setup.data, specs, sessions, onStep, aborted }, jobs),
    async evaluate(jobs) {
      const results: EvaluateResult[] = [];
      for (const job of jobs) results.push(await evaluate(job));
      return results;
    },
    async generate(job: GenerateJob, { onToken = () => undefined }) {
      tokenizer ??= loadTokenizer(setup.modelFolder);
      const context = { session: await sessions.generate(), model, tokenizer, parameters: flatAdapter(job.adapter), aborted, onToken };
      return generateTexts(context, job.prompts, job.options);
    },
    [Symbol.asyncDispose]: () => sessions[Symbol.asyncDispose](),
  };
}
