/** `fedtune evaluate`: judges a model, with an adapter or without, by benchmarks. */
import { z } from "zod";
import { FedtuneError } from "../../../core/index.ts";
import { loadApi } from "../api.ts";
import { defineCommand, flag, numeric, text } from "../command.ts";
import { say, tell } from "../context.ts";
import type { Context } from "../context.ts";
import { writeBenchmarkResult } from "../evaluation-text.ts";
import { createEvaluationProgress } from "../evaluation-progress.ts";
import { shortPath } from "../follow-run.ts";
import { wrap } from "../text-layout.ts";

const optionalCount = z.coerce.number().int().min(1).optional();

export const evaluate = defineCommand({
  summary: "judge a model by benchmarks: loss, knowledge, reasoning, code, your own questions",
  runsModels: true,
  details:
    "Names of benchmarks, and settings as key=value: `shots=3` for all of them, `mmlu.shots=3` for one. Every prompt, answer and what was read from it is written to --out, one JSON line a question, and every figure has a 95 % confidence interval. Files of benchmarks are those of `fedtune data`: in the folder that FEDTUNE_DATA names, else fetched once where that is possible; path=… gives one of your own. docs/evaluation.md says what each benchmark measures.",
  arguments: [["[benchmark...]", "names, and settings as key=value"]],
  options: {
    model: { flags: "--model <model>", description: "folder of a Hugging Face model, or its id on the Hub", schema: text },
    revision: { flags: "--revision <name>", description: "branch, tag or commit of a model on the Hub", schema: text },
    adapter: { flags: "--adapter <folder>", description: "PEFT adapter, such as runs/…/adapter", schema: text },
    limit: { flags: "--limit <n>", description: "ask a sample of n questions, the same ones every time", schema: optionalCount },
    out: { flags: "--out <folder>", description: "where answers and figures are written (default: evaluation)", schema: z.string().min(1).default("evaluation") },
    seed: { flags: "--seed <n>", description: "seed of what is drawn (default: 0)", schema: numeric(0, { min: 0, max: 2 ** 32 - 1, integer: true }) },
    batch: { flags: "--batch <n>", description: "answers that are written together (default: by memory, at most 32)", schema: optionalCount },
    precision: { flags: "--precision <name>", description: "how the base is held: float32 (default), int8 or int4", schema: z.enum(["float32", "int8", "int4"]).default("float32") },
    device: { flags: "--device <name>", description: "cpu (default), cuda, webgpu or auto", schema: z.enum(["cpu", "cuda", "webgpu", "auto"]).default("cpu") },
    bos: { flags: "--bos <when>", description: "always: before every prompt where the model has one, as in training (default); as-tokenizer: only where its tokenizer adds one", schema: z.enum(["always", "as-tokenizer"]).default("always") },
    list: { flags: "--list", description: "list the benchmarks and their settings", schema: flag },
  },
  examples: [
    "fedtune evaluate --list",
    "FEDTUNE_DATA=../shared/data fedtune evaluate mmlu --model ../shared/models/minimind2-small --limit 200",
    "fedtune evaluate perplexity --model ../shared/models/minimind2-small --adapter runs/dolly-1a2b3c/adapter path=my.jsonl category=kind",
    "fedtune evaluate mmlu gsm8k --model … --json mmlu.shots=0 compat=fsllm",
  ],
  async run({ args, options }, context) {
    const api = await loadApi();
    const { model, revision, adapter, limit, out, seed, batch, precision, device, bos } = options;
    if (options.list) return list(context, api.describeBenchmarks());
    const benchmarks = api.parseRequests(args);
    if (model === undefined) throw new FedtuneError("config", { where: "fedtune evaluate --model", expected: "a model folder or a Hub id", got: "nothing", remedy: "See `fedtune evaluate --help`" });
    using progress = createEvaluationProgress(context);
    const signal = context.interrupt.cooperate(() => progress.stopping());
    // Of the benchmark that is asked, once model and data are open.
    let started = { atMs: context.now(), processor: process.cpuUsage() };
    try {
      await api.evaluate(
        {
          model, ...(revision !== undefined && { revision }), ...(adapter !== undefined && { adapter }), benchmarks, ...(limit !== undefined && { limit }), out, seed, ...(batch !== undefined && { batchSize: batch }), bos,
          runtime: { base_precision: precision, device },
        },
        {
          signal,
          onProgress: (now) => {
            if (now.done === 0) started = { atMs: context.now(), processor: process.cpuUsage() };
            progress.show(now);
          },
          onResult: (result) => {
            progress.clear();
            const seconds = (context.now() - started.atMs) / 1000;
            const { user, system } = process.cpuUsage(started.processor);
            for (const line of writeBenchmarkResult(result, { width: context.stdout.columns ?? 80, colors: context.colors })) say(context, line);
            if (result.answers !== undefined) say(context, `Answers  ${shortPath(result.answers)}`);
            say(context);
            tell(context, { type: "evaluated", ...result, seconds, processorSeconds: (user + system) / 1e6 });
          },
        },
      );
    } catch (error) {
      progress.clear();
      if (!(error instanceof FedtuneError) || error.code !== "interrupted") throw error;
      throw new FedtuneError("interrupted", { where: "fedtune evaluate", expected: "to ask every question", got: "a request to stop", remedy: `The answers so far are in ${shortPath(out)}; the same command asks anew`, cause: error });
    }
  },
});

function list(context: Context, benchmarks: ReturnType<Awaited<ReturnType<typeof loadApi>>["describeBenchmarks"]>): void {
  const width = context.stdout.columns ?? 80;
  for (const { name, summary, settings } of benchmarks) {
    say(context, `${context.colors.bold(name)}  ${summary}`);
    for (const setting of settings) {
      const words = `${setting.name}${setting.default === undefined ? "" : ` = ${JSON.stringify(setting.default)}`}  ${setting.description}`;
      wrap(words, width - 4).forEach((line, i) => say(context, `${i === 0 ? "  " : "      "}${line}`));
    }
    say(context);
  }
  tell(context, { type: "benchmarks", benchmarks });
}
