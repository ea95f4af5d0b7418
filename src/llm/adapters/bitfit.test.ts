import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { relativeError } from "../../../test/support/numbers.ts";
import { TINIEST_GPT2, TINIEST_LLAMA, tensorGradients } from "../../../test/support/tiny-gradients.ts";
import { openTiny, TINY_CONFIGS, writeTinyModel } from "../../../test/support/tiny-models.ts";
import { lossesOfMerged, lossesOfPacks } from "../../../test/support/tiny-passes.ts";
import { temporaryFolder } from "../../../test/support/tiny-training.ts";
import { bindAdapter } from "./all.ts";
import { adapterSchema } from "./settings.ts";

const root = temporaryFolder();
const trained = (name: keyof typeof TINY_CONFIGS, settings: Readonly<Record<string, unknown>> = {}): string[] =>
  bindAdapter(adapterSchema.parse({ method: "bitfit", ...settings }), openTiny(TINY_CONFIGS[name])).parameters.map((spec) => spec.name);

describe("BitFit", () => {
  test("trains all biases that a model has, those of norms included", () => {
    expect(trained("qwen2")).toEqual([0, 1].flatMap((i) => ["q", "k", "v"].map((x) => `model.layers.${i}.self_attn.${x}_proj.bias`)));
    expect(trained("gpt2")).toHaveLength(2 * 6 + 1);
    expect(trained("gpt2")).toContain("transformer.ln_f.bias");
  });

  test("trains those that are named", () => {
    expect(trained("gpt2", { biases: ["1.mlp", "ln_f"] })).toEqual(["transformer.h.1.mlp.c_fc.bias", "transformer.h.1.mlp.c_proj.bias", "transformer.ln_f.bias"]);
    expect(trained("qwen2", { biases: ".*0.*v_proj" })).toEqual(["model.layers.0.self_attn.v_proj.bias"]);
    expect(() => trained("qwen2", { biases: ["o_proj"] })).toThrow(/^adapter\.biases: .* got `o_proj`, which matches none\./);
  });

  test("refuses a model without biases, and says what else there is", () => {
    expect(() => trained("llama")).toThrow("adapter.method: expected a model with biases for bitfit to train, got a llama model that has none. Take another method: ia3 trains as little, lora more");
  });

  test.each([["gpt2", TINIEST_GPT2, 7], ["llama with biases", { ...TINIEST_LLAMA, attention_bias: true, mlp_bias: true }, 7]] as const)("has the gradients of central differences in float64: %s", (_, config, count) => {
    const gradients = tensorGradients(config, { method: "bitfit" });
    expect(gradients).toHaveLength(count);
    for (const { name, value, expected } of gradients) expect([name, relativeError(value, expected) < 1e-6]).toEqual([name, true]);
    // Without rotary positions a bias of the keys alone (OPT's) has no gradient: it shifts all scores of a query alike.
    for (const { name, expected } of gradients) expect([name, expected.some((x) => Math.abs(x) > 1e-3)]).toEqual([name, true]);
  });

  test.each(["gpt2", "qwen2", "opt"] as const)("gives in packs what it gives apart, and merged what it gives unmerged: %s", async (name) => {
    const folder = join(root, name);
    writeTinyModel(folder, TINY_CONFIGS[name]);
    const { packed, apart } = await lossesOfPacks(folder, { method: "bitfit" }, [9, 4, 6]);
    expect(relativeError(packed, apart)).toBeLessThan(1e-5);
    const { adapted, base, merged } = await lossesOfMerged(folder, { method: "bitfit" }, { out: join(root, `${name}-merged`), lengths: [9, 4, 6] });
    expect(relativeError(merged, adapted)).toBeLessThan(1e-6);
    expect(relativeError(base, adapted)).toBeGreaterThan(0.01);
  });
});
