import { existsSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { TINY_CONFIGS, writeTinyModel } from "../../../test/support/tiny-models.ts";
import { randomAdapter, temporaryFolder } from "../../../test/support/tiny-training.ts";
import { must } from "../../core/base/errors.ts";
import { openCheckpoint } from "../../core/formats/checkpoint.ts";
import { openArchitecture } from "../architectures/all.ts";
import { bindAdapter } from "./all.ts";
import { exportMerged, exportUnmerged } from "./merge.ts";
import { adapterSchema } from "./settings.ts";

const root = temporaryFolder();

/** Merges a random adapter into a model and takes it out again. */
async function thereAndBack(name: string, settings: Readonly<Record<string, unknown>>, dtype: "float32" | "float16" = "float32") {
  const [base, merged, back] = ["base", "merged", "back"].map((part) => join(root, `${name}-${part}`)) as [string, string, string];
  writeTinyModel(base, TINY_CONFIGS.qwen2, { dtype });
  const bind = async (folder: string) => {
    const model = await openArchitecture(folder);
    const adapter = bindAdapter(adapterSchema.parse(settings), model);
    return { model, adapter, tensors: new Map([...randomAdapter(adapter.parameters), ...randomAdapter(adapter.frozen)]) };
  };
  const into = await bind(base);
  exportMerged({ modelFolder: base, out: merged }, into.model, into.adapter, into.tensors);
  const outOf = await bind(merged);
  return { base, merged, back, run: () => exportUnmerged({ modelFolder: merged, out: back }, outOf.model, outOf.adapter, outOf.tensors) };
}

describe("taking an adapter out of a merged model", () => {
  test.each([["float32", 24], ["float16", 11]] as const)("gives the base again, within the last place of %s", async (dtype, bits) => {
    const { base, merged, back, run } = await thereAndBack(dtype, { r: 3, lora_alpha: 5, target_modules: ["q_proj", "down_proj"] }, dtype);
    run();
    const [was, with_, is] = [base, merged, back].map((folder) => openCheckpoint(folder)) as [ReturnType<typeof openCheckpoint>, ReturnType<typeof openCheckpoint>, ReturnType<typeof openCheckpoint>];
    expect(is.names).toEqual(was.names);
    for (const name of was.names) {
      const [a, m, b] = [was, with_, is].map((checkpoint) => checkpoint.readFloat32(name).data);
      const adapted = /q_proj\.weight|down_proj/.test(name);
      expect([name, must(m, "merged").some((x, i) => x !== must(a, "base")[i])]).toEqual([name, adapted]);
      must(b, "back").forEach((x, i) => {
        const [original, sum] = [must(a, "base")[i] ?? 0, must(m, "merged")[i] ?? 0];
        const halfUnit = 2 ** -bits * Math.max(Math.abs(original), Math.abs(sum));
        // Below its normal numbers float16 has places of a fixed size.
        expect(Math.abs(x - original)).toBeLessThanOrEqual(adapted ? 2 * halfUnit * 1.01 + (dtype === "float16" ? 2 ** -24 : 0) : 0);
      });
    }
  });

  test("gives back an output embedding that stays a weight of its own", async () => {
    const { base, back, run } = await thereAndBack("head", { r: 3, target_modules: ["lm_head"] });
    run();
    const [head, table] = [openCheckpoint(back).readFloat32("lm_head.weight").data, openCheckpoint(base).readFloat32("model.embed_tokens.weight").data];
    head.forEach((x, i) => expect(Math.abs(x - (table[i] ?? 0))).toBeLessThan(1e-6));
  });

  test.each([
    ["dora", { method: "dora", target_modules: ["q_proj"] }, "weights whose rows have the learned magnitudes; how long they were is no longer in them"],
    ["biases", { target_modules: ["q_proj"], bias: "lora_only" }, "biases or modules that stand in place of the base's, which the merged model no longer holds"],
    ["saved", { target_modules: ["q_proj"], modules_to_save: ["model.norm"] }, "biases or modules that stand in place of the base's, which the merged model no longer holds"],
    ["pissa", { target_modules: ["q_proj"], init_lora_weights: "pissa" }, "init_lora_weights pissa, whose first factors are made from the base"],
  ])("is refused where the merged weights no longer tell: %s", async (name, settings, reason) => {
    const { back, run } = await thereAndBack(name, settings);
    expect(run).toThrow(`export: expected an adapter that was added to weights, got ${reason}. Keep the base model's own folder.`);
    expect(existsSync(back)).toBe(false);
  });
});
