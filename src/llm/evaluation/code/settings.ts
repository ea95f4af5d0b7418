/** Settings that benchmarks of code have, and what is asked and run by them. */
import { z } from "zod";
import { FedtuneError } from "../../../core/base/errors.ts";
import type { Sampling } from "../benchmark.ts";
import { compatField, pathField } from "../settings.ts";

/** Longest answer, and samples and their drawing, of our protocol and of the reference's. */
const OWN = { samples: 1, temperature: 0, topK: 0, topP: 1, maxNewTokens: 512 } as const;
const REFERENCE = { samples: 5, temperature: 0.1, topK: 40, topP: 0.75, maxNewTokens: 128 } as const;

const count = z.int().positive();
const share = z.number().gt(0).max(1);

export const codeFields = {
  path: pathField,
  samples: count.max(1000).optional().describe("answers to each question (left out: 1; 5 under compat: fsllm)"),
  k: z.array(count).min(1).default([1]).describe("pass@k is given for each of these, at most `samples`"),
  temperature: z.number().min(0).optional().describe("0: the likeliest token each time (left out: 0; 0.1 under compat: fsllm)"),
  top_k: z.int().min(0).optional().describe("draws from so many likeliest tokens; 0: all (left out: 0; 40 under compat: fsllm)"),
  top_p: share.optional().describe("draws from the likeliest tokens of this share; 1: all (left out: 1; 0.75 under compat: fsllm)"),
  max_new_tokens: count.optional().describe("longest answer in tokens (left out: 512; 128 under compat: fsllm)"),
  timeout_seconds: z.int().min(1).max(600).default(15).describe("processor time that a program may take; it may wait four times as long"),
  unsafe: z.boolean().default(false).describe("run generated code even where this machine cannot keep it from your files and the network"),
  compat: compatField,
};
const codeSchema = z.strictObject(codeFields);
export type CodeSettings = z.infer<typeof codeSchema>;

export interface Writing {
  readonly samples: number;
  readonly sampling: Omit<Sampling, "stop">;
}

/**
 * How answers are drawn.
 * @throws FedtuneError("config") for a k above the samples, and for several samples that would all be the same
 */
export function writingOf(benchmark: string, settings: Omit<CodeSettings, "path">): Writing {
  const defaults = settings.compat === "fsllm" ? REFERENCE : OWN;
  const samples = settings.samples ?? defaults.samples;
  const temperature = settings.temperature ?? defaults.temperature;
  const most = Math.max(...settings.k);
  if (most > samples) throw new FedtuneError("config", { where: `${benchmark}.k`, expected: `numbers up to ${benchmark}.samples, which is ${samples}`, got: String(most), remedy: `Set ${benchmark}.samples=${most}` });
  if (samples > 1 && temperature === 0) throw new FedtuneError("config", { where: `${benchmark}.temperature`, expected: `above 0, as ${samples} answers are drawn`, got: "0", remedy: `Set ${benchmark}.temperature=0.2 for pass@1, 0.8 for pass@100` });
  const { max_new_tokens: maxNewTokens = defaults.maxNewTokens, top_k: topK = defaults.topK, top_p: topP = defaults.topP } = settings;
  return { samples, sampling: { maxNewTokens, temperature, topK, topP } };
}
