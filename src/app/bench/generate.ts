/** `fedtune bench generate`: tokens a second while prompts are read (prefill) and while texts are written (decode), in the fields of the peer. */
import { performance } from "node:perf_hooks";
import { basename, resolve } from "node:path";
import { createTrainer, NO_EXAMPLES, openArchitecture, resolveRuntime, runtimeSchema, trainingSchema } from "../../llm/index.ts";
import { randomKey, uniforms } from "../../core/index.ts";
import { machine, versions } from "../../index.ts";
import { median, round } from "./figures.ts";
import { forwardProducts } from "./products.ts";
import { isShape, shapeFolder } from "./shapes.ts";

export interface GenerateBenchOptions {
  /** Folder of a model, or the name of a shape (random weights). */
  readonly model: string;
  readonly precision: "float32" | "int8" | "int4";
  /** Prompts at once. */
  readonly batch: number;
  /** Tokens of each prompt. */
  readonly tokens: number;
  /** Tokens written to each. */
  readonly newTokens: number;
  /** Times that are counted, after one that is not. */
  readonly repeats: number;
  readonly threads?: number;
  readonly signal?: AbortSignal;
}

/** Greedy, by the base without an adapter; no text ends early. */
export async function benchGenerate(options: GenerateBenchOptions): Promise<Readonly<Record<string, unknown>>> {
  const { model, precision, batch, tokens, newTokens, repeats, signal } = options;
  const modelFolder = isShape(model) ? shapeFolder(model) : resolve(model);
  const architecture = await openArchitecture(modelFolder);
  const { vocabSize, linears } = architecture;
  const runtime = await resolveRuntime(runtimeSchema.parse({ threads: options.threads ?? "auto", base_precision: precision }), { hiddenSize: 0, clients: 1, stepTokens: 1, ...(isShape(model) ? {} : { opened: { folder: modelFolder, model: architecture } }) });
  await using trainer = await createTrainer({ modelFolder, inferenceOnly: true, training: trainingSchema.parse({}), runtime, data: NO_EXAMPLES, packTokens: 1, seed: 0 });
  const draws = uniforms(randomKey(0, "bench prompts"), [], batch * tokens);
  const prompts = Array.from({ length: batch }, (_, row) => Int32Array.from({ length: tokens }, (__, i) => Math.floor((draws[row * tokens + i] ?? 0) * vocabSize)));
  const sampling = { maxNewTokens: newTokens, temperature: 0, topK: 0, topP: 1, stop: [], seed: 0, stopAtEnd: false };
  const [prefill, decode]: [number[], number[]] = [[], []];
  for (let repeat = 0; repeat <= repeats; repeat++) {
    const begun = performance.now();
    let first = begun;
    await trainer.generate({ prompts, options: sampling }, { onToken: () => { if (first === begun) first = performance.now(); }, ...(signal === undefined ? {} : { signal }) });
    if (repeat === 0) continue;
    prefill.push((first - begun) / 1000);
    decode.push((performance.now() - first) / 1000);
  }
  const peak = process.resourceUsage().maxRSS;
  const bare = await forwardProducts(linears.map(({ inFeatures, outFeatures }) => ({ rows: batch, inFeatures, outFeatures })), runtime.threads);
  const [prefillSeconds, decodeSeconds] = [median(prefill), median(decode)];
  const perStep = decodeSeconds / (newTokens - 1);
  return {
    peer: "fedtune", ...versions(), machine: machine(), model: basename(model), mode: precision === "float32" ? "fp32" : precision, batch, tokens, new_tokens: newTokens, threads: runtime.threads,
    prefill_s: round(prefillSeconds, 4), decode_s: round(decodeSeconds, 4),
    prefill_tokens_per_s: round((batch * tokens) / prefillSeconds, 1), decode_tokens_per_s: round(batch / perStep, 1),
    decode_step_ms: round(perStep * 1000, 2), product_ms: round(bare.seconds * 1000, 2), product_share: round(bare.seconds / perStep, 3), product_gflops: round(bare.flop / bare.seconds / 1e9, 1),
    product_counted: "a float32 product of one decoding step's rows with every linear module and the output embedding; attention is not counted",
    peak_rss_mb: Math.round(peak / 1000),
  };
}
