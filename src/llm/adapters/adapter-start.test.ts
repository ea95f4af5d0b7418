import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { openTiny, TINY_CONFIGS, writeTinyModel } from "../../../test/support/tiny-models.ts";
import { openAdapted, randomDataset, temporaryFolder, tinySetup } from "../../../test/support/tiny-training.ts";
import { must } from "../../core/base/errors.ts";
import { createLocalTrainer } from "../training/local-trainer.ts";
import { lora } from "./lora.ts";
import { adapterSchema } from "./settings.ts";

const root = temporaryFolder();
const data = randomDataset([9, 14, 5], 29);

/** A setup of an adapter on a model. */
function setupOf(name: keyof typeof TINY_CONFIGS, settings: Readonly<Record<string, unknown>>) {
  const folder = join(root, name);
  writeTinyModel(folder, TINY_CONFIGS[name]);
  return { ...tinySetup(folder, data), adapter: adapterSchema.parse({ r: 3, lora_alpha: 5, ...settings }) };
}

/** Loss of the base, and under an adapter before and after eight steps. */
async function losses(setup: ReturnType<typeof setupOf>) {
  await using trainer = await createLocalTrainer(setup, () => false);
  const examples = Int32Array.of(0, 1, 2);
  const initial = await trainer.initialAdapter();
  const [trained] = await trainer.train([{ client: 0, round: 1, adapter: initial, examples, steps: 8, stepsDone: 0, totalSteps: 8 }], {});
  if (trained?.ok !== true) throw new Error("expected a trained client");
  const loss = async (adapter?: typeof initial): Promise<number> => {
    const [result] = await trainer.evaluate([{ examples, ...(adapter === undefined ? {} : { adapter }) }], {});
    return must(result, "result").nll / must(result, "result").labelledTokens;
  };
  return { base: await loss(), before: await loss(initial), after: await loss(trained.adapter) };
}

describe("an adapter that is new", () => {
  test.each([
    ["qwen2", { init_lora_weights: "gaussian", target_modules: "all-linear" }],
    ["qwen2", { init_lora_weights: "pissa", target_modules: "all-linear", bias: "all", modules_to_save: ["lm_head"] }],
    ["gpt2", { init_lora_weights: "pissa", target_modules: ["c_attn", "c_proj"], lora_dropout: 0.2 }],
    ["gpt2", { init_lora_weights: "olora", target_modules: ["c_fc", "lm_head"], use_rslora: true }],
    ["opt", { method: "dora", target_modules: "all-linear", bias: "lora_only", lora_dropout: 0.2 }],
    ["llama", { method: "dora", init_lora_weights: "gaussian", target_modules: ["q_proj", "lm_head"], modules_to_save: ["embed_tokens"] }],
  ] as const)("leaves %s as it is, and learns: %j", async (model, settings) => {
    const { base, before, after } = await losses(setupOf(model, settings));
    expect(Math.abs(before - base)).toBeLessThan(2e-6);
    expect(after).toBeLessThan(base - 0.02);
  });

  test("of gaussian start has a deviation of 1 / r", async () => {
    const { opened, sessions } = await openAdapted(setupOf("qwen2", { init_lora_weights: "gaussian", r: 5, target_modules: "all-linear" }));
    using _ = sessions;
    const values = [...(await opened.initial())].flatMap(([name, t]) => (name.includes("lora_A") ? [...t.data] : []));
    const deviation = Math.sqrt(values.reduce((sum, x) => sum + x * x, 0) / values.length);
    expect(Math.abs(5 * deviation - 1)).toBeLessThan(0.05);
  });
});

test("biases and modules that train whole are no factor pairs", () => {
  const adapter = lora.bind(lora.schema.parse({ bias: "all", modules_to_save: ["norm"], target_modules: ["q_proj"], layers_to_transform: 0 }), openTiny(TINY_CONFIGS.qwen2));
  expect(adapter.factorPairs.map(({ a, b }) => [a, b])).toEqual([["A", "B"].map((f) => `base_model.model.model.layers.0.self_attn.q_proj.lora_${f}.weight`)]);
  expect(adapter.parameters.length).toBeGreaterThan(8);
});
