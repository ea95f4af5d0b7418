import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { temporaryFolder } from "../../../test/support/tiny-training.ts";
import { loadTokenizer } from "../../llm/index.ts";
import { benchGenerate, benchLoad, benchRound, benchStep, benchSweep } from "./index.ts";
import { fileRows } from "./rows.ts";
import { SWEEPS } from "./sweep.ts";

const folder = temporaryFolder();
const common = { model: "assets/stories260k", precision: "float32", threads: 1 } as const;
const step = { ...common, batch: 2, tokens: 24, examples: 8, steps: 2, warmup: 1, rank: 4, clients: 1, products: true };

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

test("a round with a file trains each client on its own rows: row k of the selection on client ⌊k / steps⌋", async () => {
  // Seven rows, of which the second is held out: of six wanted, each is one of the rest, in order.
  // Each answer is longer than all before it together, so that a sum of lengths tells which rows are in it.
  const texts = [1, 3, 2, 4, 8, 16, 32].map((words) => "dog ".repeat(words).trim());
  const path = join(folder, "lengths.jsonl");
  writeFileSync(path, texts.map((output, i) => JSON.stringify({ instruction: `Say ${i}`, output, split: i === 1 ? "test" : "train" })).join("\n"));
  const tokenizer = loadTokenizer(common.model);
  const lengths = texts.filter((_, i) => i !== 1).map((output) => 1 + tokenizer.encode(output, { addSpecialTokens: false }).length);
  const { ids, offsets } = await fileRows(common.model, path, 6, 256);
  const prompts = lengths.map((length, k) => tokenizer.decode(ids.subarray(offsets[k], (offsets[k + 1] ?? 0) - length), { skipSpecialTokens: true }));
  expect(prompts.map((text) => /Say (\d)/u.exec(text)?.[1])).toEqual(["0", "2", "3", "4", "5", "6"]);

  const sizes = lengths.map((_, k) => (offsets[k + 1] ?? 0) - (offsets[k] ?? 0));
  const held = (rows: readonly number[]): number => rows.reduce((sum, k) => sum + (sizes[k] ?? 0), 0);
  const training = { ...common, data: path, tokens: 256, rank: 2 };
  const three = await benchRound({ clients: 3, rounds: 1, training: { ...training, steps: 2, workers: 2 } });
  expect(three).toMatchObject({ clients: 3, steps: 2, rounds: 1, data: "lengths.jsonl", tokens_by_client: [held([0, 1]), held([2, 3]), held([4, 5])] });
  const two = await benchRound({ clients: 2, rounds: 1, training: { ...training, steps: 3, workers: 1 } });
  expect(two["tokens_by_client"]).toEqual([held([0, 1, 2]), held([3, 4, 5])]);
  await expect(benchRound({ clients: 4, rounds: 1, training: { ...training, steps: 2, workers: 1 } })).rejects.toThrow("expected 8 training rows");
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
