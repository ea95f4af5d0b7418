/** Opens a model, under an adapter where one is given, for being judged: nothing will be trained. */
import type { NamedTensors } from "../../core/base/tensor.ts";
import { openCheckpoint } from "../../core/formats/checkpoint.ts";
import { resolveModelFolder } from "../../core/store/hub.ts";
import { readAdapterSettings } from "../adapters/adapter-folder.ts";
import { bindAdapter } from "../adapters/all.ts";
import { openArchitecture } from "../architectures/all.ts";
import type { ArchitectureModel } from "../architectures/architecture.ts";
import { commonDtype } from "../architectures/half-base.ts";
import { loadTokenizer, requireTokenizerFits, type Tokenizer } from "../text/tokenizer.ts";
import { resolveCompute, resolveDevice, resolveRuntime } from "../training/resolve-runtime.ts";
import { runtimeSchema, trainingSchema, type RuntimeSettings } from "../training/settings.ts";
import { NO_EXAMPLES } from "../training/setup.ts";
import { createTrainer } from "../training/trainer.ts";
import type { Trainer } from "../training/types.ts";

export interface JudgedModelOptions {
  /** Folder of a model, or its id on the Hub. */
  readonly model: string;
  readonly revision?: string;
  /** Folder of a PEFT adapter. */
  readonly adapter?: string;
  /** Absent: on the CPU, in float32. */
  readonly runtime?: Partial<RuntimeSettings>;
}

/** A model that is open to be asked. */
export interface JudgedModel extends AsyncDisposable {
  readonly trainer: Trainer;
  readonly tokenizer: Tokenizer;
  /** The adapter's tensors; absent: the base. */
  readonly adapter: NamedTensors<"float32"> | undefined;
  /** Tokens that a text may have, beside the adapter's own. */
  readonly contextTokens: number;
  /** Bytes that the keys and values of one token take. */
  readonly cacheBytesPerToken: number;
}

/** Bytes that the keys and values of one token take in float32. */
export function cacheBytesPerToken({ layers, keyValueHeads, headWidth }: Pick<ArchitectureModel, "layers" | "keyValueHeads" | "headWidth">): number {
  return 2 * 4 * layers * keyValueHeads * headWidth;
}

/** Throws FedtuneError("model") for a model, tokenizer or adapter that do not fit together, ("resources") for a failed download. */
export async function openJudgedModel({ model: name, revision, adapter, runtime = {} }: JudgedModelOptions, signal?: AbortSignal): Promise<JudgedModel> {
  const modelFolder = await resolveModelFolder(name, { ...(revision === undefined ? {} : { revision }), ...(signal === undefined ? {} : { signal }) });
  const model = await openArchitecture(modelFolder);
  const tokenizer = loadTokenizer(modelFolder);
  requireTokenizerFits(tokenizer, model.vocabSize);
  const settings = adapter === undefined ? undefined : { ...readAdapterSettings(adapter), init_from: adapter };
  const bound = settings === undefined ? undefined : bindAdapter(settings, model);
  const wanted = runtimeSchema.parse({ device: "cpu", compute: "float32", ...runtime });
  const device = await resolveDevice(wanted);
  const compute = await resolveCompute(wanted, { device, checkpoint: commonDtype(openCheckpoint(modelFolder), model) });
  const trainer = await createTrainer({
    modelFolder, ...(settings === undefined ? {} : { adapter: settings }), inferenceOnly: true, training: trainingSchema.parse({}),
    runtime: await resolveRuntime(wanted, { hiddenSize: model.hiddenSize, clients: 1, stepTokens: 1, device: device.device, compute, opened: { folder: modelFolder, model } }), data: NO_EXAMPLES, packTokens: 1, seed: 0,
  });
  try {
    return {
      trainer, tokenizer, adapter: settings === undefined ? undefined : await trainer.initialAdapter(),
      contextTokens: model.maxPositions - (bound?.virtualTokens ?? 0) - (bound?.prefixTokens ?? 0),
      cacheBytesPerToken: cacheBytesPerToken(model),
      [Symbol.asyncDispose]: () => trainer[Symbol.asyncDispose](),
    };
  } catch (error) {
    await trainer[Symbol.asyncDispose]();
    throw error;
  }
}
