import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { temporaryFolder } from "../../../test/support/tiny-training.ts";
import { benchGenerate, benchLoad, benchRound, benchStep, benchSweep } from "./index.ts";
import { SWEEPS } from "./sweep.ts";

const folder = temporaryFolder();
const common = { model: "assets/stories260k", precision: "float32", threads: 1 } as const;
const step = { ...common, batch: 2, tokens: 24, examples: 8, steps: 2, warmup: 1, rank: 4, clients: 1, products: true };

function file(rows: number): string {
  const path = join(folder, "rows.jsonl");
  writeFileSync(path, Array.from({ length: rows }, (_, i) => JSON.stringify({ instruction: `Say ${i}`, output: `It is ${i}, and so on.` })).join("\n"));
  return path;
}

test("a step's bare products are counted forward and backward, and timed", async () => {
  const result = await benchStep(step);
  // 5 layers: q 64², k and v 32 · 64, o 64², gate and up 64 · 172, down 172 · 64; the output embedding 512 · 64; 48 tokens, 2 flop, twice.
  const flop = 2 * 2 * 48 * (5 * (2 * 64 * 64 + 2 * 32 * 64 + 3 * 64 * 172) + 512 * 64);
  expect(result).toMatchObject({ mode: "fp32", batch: 2, tokens: 24, clients: 1, threads: 1, product_gflop_per_step: Number((flop / 1e9).toFixed(2)) });
  expect((Number(result["tokens_per_s"]) * Number(result["median_step_ms"])) / 48_000).toBeCloseTo(1, 1);
  // Two times measured one after the other: on a tiny model and a shared machine the ratio may pass 1, so only its sign is certain.
  expect(Number(result["product_share"])).toBeGreaterThan(0);
});

test("clients side by side take each step together", async () => {
  const [one, three] = [await benchStep({ ...step, products: false }), await benchStep({ ...step, clients: 3, products: false })];
  expect(three["clients"]).toBe(3);
  expect(Number(three["tokens_per_s"]) * Number(three["median_step_ms"])).toBeCloseTo(3 * Number(one["tokens_per_s"]) * Number(one["median_step_ms"]), -4);
});

test("a sweep has a row for each size and the exponent of the cost", async () => {
  const { table, exponent, ...rest } = await benchSweep("rank", { ...step, steps: 1 });
  expect(rest).toMatchObject({ sweep: "rank", letter: "r", tokens: 24 });
  expect(rest).not.toHaveProperty("median_step_ms");
  expect(table).toHaveLength(SWEEPS.rank.length);
  expect(Math.abs(Number(exponent))).toBeLessThan(2);
});

test("a round with a file trains every client on rows of its own", async () => {
  const result = await benchRound({ clients: 3, rounds: 1, training: { ...common, data: file(7), steps: 2, tokens: 256, rank: 2, workers: 2 } });
  expect(result).toMatchObject({ clients: 3, steps: 2, rounds: 1, data: "rows.jsonl" });
  await expect(benchRound({ clients: 4, rounds: 1, training: { ...common, data: file(7), steps: 2, tokens: 256, rank: 2, workers: 2 } })).rejects.toThrow("expected 8 training rows");
});

test("generation is timed apart for prompts and for what is written", async () => {
  const result = await benchGenerate({ ...common, batch: 2, tokens: 5, newTokens: 7, repeats: 2 });
  expect(result).toMatchObject({ batch: 2, tokens: 5, new_tokens: 7 });
  expect(Number(result["decode_tokens_per_s"]) * Number(result["decode_s"]) / 12).toBeCloseTo(1, 0);
  expect(Number(result["prefill_tokens_per_s"]) * Number(result["prefill_s"]) / 10).toBeCloseTo(1, 0);
});

test.runIf(process.platform === "linux")("loading says how much private memory a second session adds, as a share of the base", async () => {
  const result = await benchLoad({ ...common, tokens: 16, rank: 2, repeats: 1 });
  expect(Number(result["second_session_share_of_base"]) * Number(result["base_mb"])).toBeCloseTo(Number(result["second_session_private_mb"]), 0);
});
