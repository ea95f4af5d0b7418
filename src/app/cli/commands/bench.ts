/** `fedtune bench step|round`: measurements on this machine. What is measured and how is the business of `app/bench`. */
import { z } from "zod";
import { didYouMean, FedtuneError } from "../../../core/index.ts";
import { defineCommand, numeric, text } from "../command.ts";
import { say, tell } from "../context.ts";

const MEASUREMENTS = ["step", "round"] as const;

export const bench = defineCommand({
  summary: "measure training steps, and what a round costs, on this machine",
  details: "`step` takes LoRA steps (q_proj and v_proj) and prints their time, rate and memory, in the fields of the PyTorch comparison. `round` takes rounds of clients that train nothing: what the federation itself costs.",
  arguments: [["<what>", "step or round"]],
  options: {
    model: { flags: "--model <model>", description: "model folder, or a shape with random weights: smollm2-135m, smollm2-360m, minimind2-small (default: minimind2-small)", schema: z.string().min(1).default("minimind2-small") },
    precision: { flags: "--precision <name>", description: "how the base is held: float32 (default), int8 or int4", schema: z.enum(["float32", "int8", "int4"]).default("float32") },
    batch: { flags: "--batch <n>", description: "examples per step (default: 4)", schema: numeric(4, { min: 1, integer: true }) },
    tokens: { flags: "--tokens <n>", description: "tokens per example, at most with --data (default: 256)", schema: numeric(256, { min: 2, integer: true }) },
    data: { flags: "--data <file>", description: "rows of a file instead of random tokens", schema: text },
    examples: { flags: "--examples <n>", description: "rows to take from --data (default: 64)", schema: numeric(64, { min: 1, integer: true }) },
    steps: { flags: "--steps <n>", description: "timed steps with random tokens (default: 8)", schema: numeric(8, { min: 1, integer: true }) },
    warmup: { flags: "--warmup <n>", description: "steps before the clock starts (default: 2)", schema: numeric(2, { min: 0, integer: true }) },
    rank: { flags: "--rank <r>", description: "rank of the LoRA factors (default: 8)", schema: numeric(8, { min: 1, integer: true }) },
    clients: { flags: "--clients <n>", description: "clients of a round (default: 32)", schema: numeric(32, { min: 1, integer: true }) },
    rounds: { flags: "--rounds <n>", description: "timed rounds (default: 20)", schema: numeric(20, { min: 1, integer: true }) },
    threads: { flags: "--threads <n>", description: "threads (default: chosen for this machine)", schema: z.coerce.number().int().min(1).optional() },
  },
  examples: ["fedtune bench step --model minimind2-small --precision float32 --batch 4 --tokens 256 --json", "fedtune bench step --model ../shared/models/minimind2-small --data ../shared/data/dolly15k/dolly15k-fedit10.jsonl --examples 64", "fedtune bench round --clients 32 --json"],
  async run({ args: [what = ""], options }, context) {
    const measurement = MEASUREMENTS.find((name) => name === what);
    if (measurement === undefined) throw new FedtuneError("config", { where: "fedtune bench", expected: `one of ${MEASUREMENTS.join(", ")}`, got: `\`${what}\``, remedy: didYouMean(what, MEASUREMENTS) });
    const { benchRound, benchStep } = await import("../../bench/index.ts");
    const { data, threads, clients, rounds, ...rest } = options;
    const result =
      measurement === "round"
        ? await benchRound({ clients, rounds })
        : await benchStep({ ...rest, ...(data !== undefined && { data }), ...(threads !== undefined && { threads }), signal: context.interrupt.cooperate() });
    const widest = Math.max(...Object.keys(result).map((key) => key.length));
    for (const [key, value] of Object.entries(result)) say(context, `${key.padEnd(widest)}  ${typeof value === "string" ? value : JSON.stringify(value)}`);
    tell(context, result);
  },
});
