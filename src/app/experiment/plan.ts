/**
 * The plan of a run: the config with every automatic choice resolved, and the hashes of what it trains on. It is written once,
 * as `experiment.yaml` in the run's folder, and a resume uses it as it stands.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parse, stringify } from "yaml";
import { z } from "zod";
import { FedtuneError, messageOf } from "../../core/base/errors.ts";
import { fileErrorCode } from "../../core/base/file-errors.ts";
import { canonicalJson, sha256 } from "../../core/base/hash.ts";
import { COMPUTE_DTYPES, type ComputeDType } from "../../core/base/tensor.ts";
import { DEVICES } from "../../engine/graph/onnx/emitter.ts";
import type { ChosenDevice } from "../../engine/runtime/choose-device.ts";
import { HELD_PRECISIONS } from "../../llm/architectures/quantized-weights.ts";
import { resolveRuntime } from "../../llm/training/resolve-runtime.ts";
import type { ResolvedRuntime } from "../../llm/training/setup.ts";
import type { PreparedData } from "./data.ts";
import type { PreparedModel } from "./model.ts";
import { configError } from "./problems.ts";
import { PLAN } from "./run-folder.ts";
import { experimentSchema, type ExperimentConfig } from "./schema.ts";

const hash = z.string().regex(/^[0-9a-f]{64}$/);
const positive = z.int().positive();

const resolvedSchema = z.strictObject({
  device: z.enum(DEVICES),
  /** What the device is called on the machine that the run started on. */
  device_name: z.string().optional(),
  /** Dtype of the base that is not rounded, of activations and of products with the base. */
  compute: z.enum(COMPUTE_DTYPES),
  threads: positive,
  /** How the base is held: 8 bits signed or unsigned, whichever the machine multiplies exactly. */
  base_precision: z.enum(HELD_PRECISIONS),
  /** Linear modules of a rounded base that are held in float32; absent: none. */
  float32_modules: z.array(z.string()).optional(),
  clients_side_by_side: positive,
  tokens_per_micro_batch: positive,
  /** Passes of a step that run at the same time; absent: 1. */
  data_parallel: positive.optional(),
  /** Most memory for the values of training passes at the same time; absent: no limit. */
  activation_bytes: positive.optional(),
  /** Longest row of tokens that examples are packed into. */
  pack_tokens: positive,
  model_folder: z.string(),
  model_sha256: hash,
  data_sha256: hash,
  /** Values of partition.field that make no client, with their rows. */
  left_out: z.record(z.string(), positive).optional(),
});

const planSchema = experimentSchema.extend({ resolved: resolvedSchema });
/** A config with every automatic choice resolved. */
export type Plan = z.infer<typeof planSchema>;

/** Packs shorter than this waste time on overheads. */
const SHORTEST_PACK = 128;

/** Resolves the automatic choices of a config for this machine, this model and this data. */
export async function resolvePlan(config: ExperimentConfig, { model, data, device, compute }: { readonly model: PreparedModel; readonly data: PreparedData; readonly device: ChosenDevice; readonly compute: ComputeDType }): Promise<Plan> {
  const packTokens = Math.max(longestExample(data), Math.min(SHORTEST_PACK, config.data.max_tokens));
  const runtime = await resolveRuntime(config.runtime, { hiddenSize: model.model.hiddenSize, clients: data.partition.clients.length, stepTokens: config.training.batch_size * meanLength(data), rowTokens: packTokens, parameters: model.parameters, linears: model.model.linears, workers: config.runtime.workers, device: device.device, compute, opened: { folder: model.folder, model: model.model } });
  return {
    ...config,
    resolved: {
      device: runtime.device,
      device_name: device.name,
      compute,
      threads: runtime.threads,
      base_precision: runtime.basePrecision,
      ...(runtime.float32Modules === undefined ? {} : { float32_modules: [...runtime.float32Modules] }),
      clients_side_by_side: runtime.clientsSideBySide,
      tokens_per_micro_batch: runtime.tokensPerMicroBatch,
      ...(runtime.dataParallel === undefined ? {} : { data_parallel: runtime.dataParallel }),
      ...(runtime.activationBytes === undefined ? {} : { activation_bytes: runtime.activationBytes }),
      pack_tokens: packTokens,
      model_folder: model.folder,
      model_sha256: model.sha256,
      data_sha256: data.sha256,
      ...(data.record.manifest.leftOut.length > 0 && { left_out: Object.fromEntries(data.record.manifest.leftOut.map(({ name, rows }) => [name, rows])) }),
    },
  };
}

/** Tokens of an example, on average. */
function meanLength({ dataset: { offsets } }: PreparedData): number {
  return Math.max(1, (offsets.at(-1) ?? 0) / Math.max(1, offsets.length - 1));
}

function longestExample({ dataset: { offsets } }: PreparedData): number {
  let longest = 1;
  for (let i = 1; i < offsets.length; i++) longest = Math.max(longest, (offsets[i] ?? 0) - (offsets[i - 1] ?? 0));
  return longest;
}

/** What a trainer needs to know of a plan's automatic choices. */
export function runtimeOf({ resolved }: Plan): ResolvedRuntime {
  return { device: resolved.device, threads: resolved.threads, basePrecision: resolved.base_precision, ...(resolved.float32_modules === undefined ? {} : { float32Modules: resolved.float32_modules }), compute: resolved.compute, clientsSideBySide: resolved.clients_side_by_side, tokensPerMicroBatch: resolved.tokens_per_micro_batch, ...(resolved.data_parallel === undefined ? {} : { dataParallel: resolved.data_parallel }), ...(resolved.activation_bytes === undefined ? {} : { activationBytes: resolved.activation_bytes }) };
}

/** SHA-256 of all that decides about the result: not what does the work at the same time, nor where it is written. */
export function planHash(plan: ExperimentConfig & Partial<Pick<Plan, "resolved">>): string {
  const { output: _output, runtime: { workers: _workers, data_parallel: _asked, ...runtime }, resolved, ...rest } = plan;
  if (resolved === undefined) return sha256(canonicalJson({ ...rest, runtime }));
  const { data_parallel: _chosen, ...choices } = resolved;
  return sha256(canonicalJson({ ...rest, runtime, resolved: choices }));
}

/** The text of a run's `experiment.yaml`. */
export function formatPlan(plan: Plan): string {
  return `# As resolved when the run started. A resume uses it as it stands.\n${stringify(plan)}`;
}

/**
 * The plan of a run's folder.
 * @throws FedtuneError("config") where the folder holds no run, or its plan was changed to something else
 */
export function readPlan(folder: string): Plan {
  const path = join(folder, PLAN);
  let raw: unknown;
  try {
    raw = parse(readFileSync(path, "utf8"));
  } catch (error) {
    const missing = fileErrorCode(error) === "ENOENT" || fileErrorCode(error) === "ENOTDIR";
    throw new FedtuneError("config", { where: folder, expected: `a run's folder, which holds ${PLAN}`, got: missing ? "none" : messageOf(error), remedy: "Name a folder that `fedtune run` made", cause: error });
  }
  const parsed = planSchema.safeParse(raw);
  if (parsed.success) return parsed.data;
  throw configError(parsed.error.issues, raw, (at) => `${path}: ${at.join(".")}`);
}
