/** An experiment's model: its folder on this machine, what its config says, its tokenizer, and a hash of all of it. */
import { openCheckpoint } from "../../core/formats/checkpoint.ts";
import { FedtuneError } from "../../core/base/errors.ts";
import type { FactorPair } from "../../core/base/factor-pair.ts";
import { canonicalJson, sha256 } from "../../core/base/hash.ts";
import { elementCount, type DType } from "../../core/base/tensor.ts";
import { resolveModelFolder, type ResolveModelOptions } from "../../core/store/hub.ts";
import { bindAdapter } from "../../llm/adapters/all.ts";
import { openArchitecture } from "../../llm/architectures/all.ts";
import type { ArchitectureModel } from "../../llm/architectures/architecture.ts";
import { readModelConfig } from "../../llm/architectures/config.ts";
import { commonDtype } from "../../llm/architectures/half-base.ts";
import { checkShapes, hashCheckpoint } from "../../llm/architectures/prepared-base.ts";
import { loadTokenizer, requireTokenizerFits, type Tokenizer } from "../../llm/text/tokenizer.ts";
import { trainedSpecs } from "../../llm/training/graphs.ts";
import type { ExperimentConfig } from "./schema.ts";

export interface PreparedModel {
  readonly folder: string;
  readonly model: ArchitectureModel;
  readonly tokenizer: Tokenizer;
  /** Parameters of the base. */
  readonly parameters: number;
  /** The dtype that most of the checkpoint has. */
  readonly dtype: DType;
  /** Trainable parameters of the adapter. */
  readonly trainable: number;
  /** Parameters of the base and those that the adapter adds. */
  readonly allParameters: number;
  readonly factorPairs: readonly FactorPair[];
  /** SHA-256 over weights, config and tokenizer. */
  readonly sha256: string;
}

/**
 * Finds the model (a folder, or a download from the Hub) and checks that its parts fit together and that the adapter fits it.
 * @throws FedtuneError("model"), ("config") for an adapter whose targets match nothing, ("resources") for a failed download
 */
export async function prepareModel(config: ExperimentConfig, options: Pick<ResolveModelOptions, "signal" | "onProgress"> = {}): Promise<PreparedModel> {
  const { signal, onProgress } = options;
  const folder = await resolveModelFolder(config.model, { ...(config.revision !== undefined && { revision: config.revision }), ...(signal && { signal }), ...(onProgress && { onProgress }) });
  const model = await openArchitecture(folder);
  const checkpoint = openCheckpoint(folder);
  checkShapes(checkpoint, model);
  const tokenizer = loadTokenizer(folder);
  requireTokenizerFits(tokenizer, model.vocabSize);
  const adapter = bindAdapter(config.adapter, model);
  const own = adapter.virtualTokens + adapter.prefixTokens;
  if (config.data.max_tokens + own > model.maxPositions) {
    const room = model.maxPositions - own;
    const why = own === 0 ? "the longest text that the model knows" : `the longest text that the model knows less ${own} virtual tokens`;
    throw new FedtuneError("config", { where: "data.max_tokens", expected: `at most ${room}, ${why}`, got: String(config.data.max_tokens), remedy: `Set data.max_tokens=${room} or less` });
  }
  const trained = trainedSpecs(adapter);
  const size = (specs: readonly { readonly shape: readonly number[] }[]): number => specs.reduce((sum, { shape }) => sum + elementCount(shape), 0);
  const parameters = size(model.tensors);
  return {
    folder,
    model,
    tokenizer,
    parameters,
    dtype: commonDtype(checkpoint, model),
    trainable: size(trained),
    allParameters: parameters + size(trained.filter(({ inPlace }) => inPlace !== true)),
    factorPairs: adapter.factorPairs,
    sha256: sha256(await hashCheckpoint(checkpoint), canonicalJson(await readModelConfig(folder)), tokenizer.identity),
  };
}
