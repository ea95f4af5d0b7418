/** fedtune against the recorded truths of PyTorch, transformers and PEFT; skipped where they are not beside the repository. */
import { spawnSync } from "node:child_process";
import { cpSync, existsSync, readFileSync } from "node:fs";
import { join, relative } from "node:path";
import { describe, expect, test } from "vitest";
import { z } from "zod";
import { must } from "../src/core/base/errors.ts";
import { readSafetensors } from "../src/core/formats/safetensors.ts";
import { writeSafetensors } from "../src/core/formats/safetensors-writer.ts";
import { findCases } from "../tools/golden/case.ts";
import { checkCase, withinTolerances } from "../tools/golden/check.ts";
import { openScorer } from "./support/scorer.ts";
import { temporaryFolder } from "./support/tiny-training.ts";

const SHARED = "../shared";
const GOLDENS = join(SHARED, "goldens");
const MODELS = join(SHARED, "models");
const folder = temporaryFolder();
/** The CPU casts before and after each op. */
const HALF_PATIENCE_MS = 120_000;

/** Every case that is there, by its path. */
const CASES = findCases(GOLDENS).map((path) => relative(GOLDENS, path));

describe.skipIf(!existsSync(GOLDENS))(`recorded cases (skipped where ${GOLDENS} is absent)`, () => {
  test("there are cases of twelve adapter settings and fourteen architectures", () => {
    const under = (folder: string): number => CASES.filter((name) => name.startsWith(`${folder}/`)).length;
    expect([under("peft"), under("architectures")]).toSatisfy(([methods = 0, architectures = 0]: number[]) => methods >= 12 && architectures >= 14);
  });

  test.each(CASES)("%s: losses, logits, gradients and the change of three steps are PyTorch's", async (name) => {
    const differences = await checkCase(join(GOLDENS, name), [MODELS]);
    expect(differences).toSatisfy((d: typeof differences) => withinTolerances(d));
  });

  test.each(["float16", "bfloat16"] as const)("in %s they are PyTorch's float32 ones but for rounding: adapters of both kinds of factors, soft caps, position tables", async (compute) => {
    for (const name of ["peft/stories260k.lora-sgd", "peft/stories260k.p-tuning-lstm", "architectures/gemma2", "architectures/gpt2"]) {
      const differences = await checkCase(join(GOLDENS, name), [MODELS], { device: "cpu", compute });
      expect(differences).toSatisfy((d: typeof differences) => withinTolerances(d, compute));
      expect(differences.logits).toBeGreaterThan(1e-4);
    }
  }, HALF_PATIENCE_MS);

  test("npm run golden ends with 1 and says which case differs, and passes the one beside it", () => {
    const root = join(folder, "corrupted");
    cpSync(join(GOLDENS, "peft/stories260k.lora"), join(root, "sound"), { recursive: true });
    cpSync(join(GOLDENS, "peft/stories260k.lora"), join(root, "wrong"), { recursive: true });
    const path = join(root, "wrong/gradients.safetensors");
    const tensors = new Map(readSafetensors(path).tensors);
    const [name = ""] = tensors.keys();
    const t = must(tensors.get(name), name);
    // One gradient of 20 tensors is 1 % off; everything else is as recorded.
    writeSafetensors(path, tensors.set(name, { ...t, data: Float32Array.from(t.data, (x: number | bigint) => Number(x) * 1.01) }));
    const { status, stdout } = spawnSync("node_modules/.bin/node", ["tools/golden.ts", root, "--models", MODELS], { encoding: "utf8" });
    const line = z.object({ case: z.string(), ok: z.boolean(), loss: z.number().max(1e-5), gradients: z.number() });
    const lines = stdout.trim().split("\n").map((text) => line.parse(JSON.parse(text)));
    expect(lines.map(({ case: which, ok }) => [which, ok])).toEqual([["corrupted/sound", true], ["corrupted/wrong", false]]);
    expect(lines[1]?.gradients).toBeCloseTo(0.0099, 4);
    expect(status).toBe(1);
  });

  test("npm run golden ends with 1 for a case that cannot be read, and for a folder without cases", () => {
    const root = join(folder, "unreadable");
    cpSync(join(GOLDENS, "peft/stories260k.lora"), join(root, "case"), { recursive: true });
    cpSync(join(root, "case/case.json"), join(root, "case/logits.safetensors"));
    const run = (path: string) => spawnSync("node_modules/.bin/node", ["tools/golden.ts", path, "--models", MODELS], { encoding: "utf8" });
    const unreadable = run(root);
    expect(JSON.parse(unreadable.stdout)).toMatchObject({ case: "unreadable/case", ok: false });
    expect(unreadable.status).toBe(1);
    const none = run(join(folder, "nothing-here"));
    expect([none.status, none.stdout]).toEqual([1, ""]);
    expect(none.stderr).toContain("nothing-here: expected a folder with a case.json");
  });
});

const goldenModel = z.object({
  cases: z.array(z.object({ text: z.string(), ids: z.array(z.int()), nll: z.array(z.number()), last_top10: z.array(z.tuple([z.int(), z.number()])), greedy_next24: z.array(z.int()) })),
});

describe.skipIf(!existsSync(MODELS)).each(["stories260k", "minimind2-small"])(`recorded model %s (skipped where ${MODELS} is absent)`, (name) => {
  test("gives each token's loss, the ten likeliest next tokens and the greedy continuation of PyTorch", async () => {
    const modelFolder = join(MODELS, name);
    const { cases } = goldenModel.parse(JSON.parse(readFileSync(join(modelFolder, "golden.json"), "utf8")));
    await using scorer = await openScorer(modelFolder);
    for (const { ids, nll, last_top10: top10, greedy_next24: continuation } of cases) {
      const losses = await scorer.losses(ids);
      expect(losses.length).toBe(nll.length);
      expect(Math.max(...nll.map((expected, i) => Math.abs((losses[i] ?? Number.NaN) - expected)))).toBeLessThan(1e-3);
      expect(await scorer.likeliest(ids, 10)).toEqual(top10.map(([id]) => id));
      expect(await scorer.continueGreedily(ids, 24)).toEqual(continuation);
    }
  });
});
