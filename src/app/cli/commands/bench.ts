/** `fedtune bench step|round|generate|load`: measurements on this machine. What is measured and how is the business of `app/bench`. */
import { z } from "zod";
import { didYouMean, FedtuneError } from "../../../core/index.ts";
import { defineCommand, numeric, text } from "../command.ts";
import { say, tell } from "../context.ts";

const MEASUREMENTS = ["step", "round", "generate", "load"] as const;
const count = (byDefault: number, min = 1) => numeric(byDefault, { min, integer: true });
const optionalCount = z.coerce.number().int().min(1).optional();

export const bench = defineCommand({
  summary: "measure training steps, rounds, generation and start-up on this machine",
  runsModels: true,
  details:
    "`step` takes LoRA steps (q_proj and v_proj) and prints their time, rate and memory, in the fields of the PyTorch comparison, and the share of that time which bare products of the same shapes take; with `--sweep`, the cost of a token as one size grows, and its exponent. `round` takes rounds of clients that train nothing: what the federation itself costs; with `--data`, of clients that take `--steps` steps of one example each on rows of the file. `generate` writes greedily: tokens a second over the prompts (prefill) and after (decode). `load` prints the time until a model is ready, and the private memory that a first and a second session add.",
  arguments: [["<what>", "step, round, generate or load"]],
  options: {
    model: { flags: "--model <model>", description: "model folder, or a shape with random weights: smollm2-135m, smollm2-360m, minimind2-small (default: minimind2-small)", schema: z.string().min(1).default("minimind2-small") },
    precision: { flags: "--precision <name>", description: "how the base is held: float32 (default), int8 or int4", schema: z.enum(["float32", "int8", "int4"]).default("float32") },
    batch: { flags: "--batch <n>", description: "examples per step (default: 4), prompts at once (default: 1)", schema: optionalCount },
    tokens: { flags: "--tokens <n>", description: "tokens per example, at most with --data (default: 256); per prompt (default: 128)", schema: z.coerce.number().int().min(2).optional() },
    newTokens: { flags: "--new-tokens <n>", description: "tokens that generate writes after each prompt (default: 128)", schema: count(128, 2) },
    data: { flags: "--data <file>", description: "rows of a file instead of random tokens", schema: text },
    examples: { flags: "--examples <n>", description: "rows that step takes from --data (default: 64)", schema: count(64) },
    steps: { flags: "--steps <n>", description: "timed steps with random tokens (default: 8), steps of each client of a round with --data (default: 4)", schema: optionalCount },
    warmup: { flags: "--warmup <n>", description: "steps before the clock starts (default: 2)", schema: count(2, 0) },
    rank: { flags: "--rank <r>", description: "rank of the LoRA factors (default: 8)", schema: count(8) },
    clients: { flags: "--clients <n>", description: "clients of a round (default: 32), clients side by side in a step (default: 1)", schema: optionalCount },
    rounds: { flags: "--rounds <n>", description: "timed rounds (default: 20; 3 with --data)", schema: optionalCount },
    repeats: { flags: "--repeats <n>", description: "times that generate and load are repeated (default: 3)", schema: count(3) },
    sweep: { flags: "--sweep <size>", description: "step at several sizes: tokens (128 to 2,048), clients (1 to 64) or rank (4 to 64)", schema: z.enum(["tokens", "clients", "rank"]).optional() },
    workers: { flags: "--workers <n>", description: "workers that simulate the clients of a round with --data (default: 1)", schema: count(1) },
    activationMemory: { flags: "--activation-memory <size>", description: "step: most memory for activations, as runtime.activation_memory: auto (default), none, or a size such as 512MB", schema: text },
    dataParallel: { flags: "--data-parallel <n>", description: "step: passes at the same time, as runtime.data_parallel (default: chosen for model and machine)", schema: optionalCount },
    tokensPerMicroBatch: { flags: "--tokens-per-micro-batch <n>", description: "step: tokens of a pass, as runtime.tokens_per_micro_batch (default: chosen for model and machine)", schema: optionalCount },
    threads: { flags: "--threads <n>", description: "threads (default: chosen for this machine)", schema: optionalCount },
  },
  examples: [
    "fedtune bench step --model minimind2-small --precision float32 --batch 4 --tokens 256 --json",
    "fedtune bench step --model ../shared/models/minimind2-small --data ../shared/data/dolly15k/dolly15k-fedit10.jsonl --examples 64",
    "fedtune bench step --model minimind2-small --batch 1 --sweep tokens",
    "fedtune bench round --model ../shared/models/minimind2-small --data ../shared/data/dolly15k/dolly15k-fedit10.jsonl --clients 32 --steps 4",
    "fedtune bench generate --model minimind2-small --batch 16 --json",
    "fedtune bench load --model smollm2-135m",
  ],
  async run({ args: [what = ""], options }, context) {
    const measurement = MEASUREMENTS.find((name) => name === what);
    if (measurement === undefined) throw new FedtuneError("config", { where: "fedtune bench", expected: `one of ${MEASUREMENTS.join(", ")}`, got: `\`${what}\``, remedy: didYouMean(what, MEASUREMENTS) });
    const { benchGenerate, benchLoad, benchRound, benchStep, benchSweep } = await import("../../bench/index.ts");
    const { model, precision, batch, tokens, newTokens, data, examples, steps, warmup, rank, clients, rounds, repeats, sweep, workers, activationMemory, dataParallel, tokensPerMicroBatch, threads } = options;
    const common = { model, precision, ...(threads !== undefined && { threads }) };
    const measure = async (): Promise<Readonly<Record<string, unknown>>> => {
      switch (measurement) {
        case "step": {
          const size = { ...common, batch: batch ?? 4, tokens: tokens ?? 256, ...(data !== undefined && { data }), examples, steps: steps ?? 8, warmup, rank, clients: clients ?? 1, products: true, ...(activationMemory !== undefined && { activationMemory }), ...(dataParallel !== undefined && { dataParallel }), ...(tokensPerMicroBatch !== undefined && { tokensPerMicroBatch }), signal: context.interrupt.cooperate() };
          return sweep === undefined ? await benchStep(size) : await benchSweep(sweep, size);
        }
        case "round": {
          const training = data === undefined ? {} : { training: { ...common, data, steps: steps ?? 4, tokens: tokens ?? 256, rank, workers } };
          return await benchRound({ clients: clients ?? 32, rounds: rounds ?? (data === undefined ? 20 : 3), ...training });
        }
        case "generate":
          return await benchGenerate({ ...common, batch: batch ?? 1, tokens: tokens ?? 128, newTokens, repeats, signal: context.interrupt.cooperate() });
        case "load":
          return await benchLoad({ ...common, tokens: tokens ?? 256, rank, repeats });
        default:
          return measurement satisfies never;
      }
    };
    const result = await measure();
    const widest = Math.max(...Object.keys(result).map((key) => key.length));
    for (const [key, value] of Object.entries(result)) say(context, `${key.padEnd(widest)}  ${typeof value === "string" ? value : JSON.stringify(value)}`);
    tell(context, result);
  },
});
