import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { relativeError } from "../../../test/support/numbers.ts";
import { TINIEST_GPT2, TINIEST_LLAMA, tensorGradients } from "../../../test/support/tiny-gradients.ts";
import { openTiny, TINY_CONFIGS, writeTinyModel, type ModelConfig } from "../../../test/support/tiny-models.ts";
import { lossesOfMerged, lossesOfPacks } from "../../../test/support/tiny-passes.ts";
import { randomAdapter, temporaryFolder } from "../../../test/support/tiny-training.ts";
import { must } from "../../core/base/errors.ts";
import { readSafetensors } from "../../core/formats/safetensors.ts";
import { bindAdapter } from "./all.ts";
import { exportMerged } from "./merge.ts";
import { baseWeights } from "./replaced-weights.ts";
import { adapterSchema } from "./settings.ts";

const root = temporaryFolder();
const model = openTiny(TINY_CONFIGS.llama);
const bind = (settings: Readonly<Record<string, unknown>>, config: ModelConfig = TINY_CONFIGS.llama) => bindAdapter(adapterSchema.parse({ method: "full", ...settings }), openTiny(config));
const trained = (settings: Readonly<Record<string, unknown>>, config?: ModelConfig): string[] => bind(settings, config).parameters.map(({ name }) => name);

describe("what trains", () => {
  test("is every tensor of the base, what is tied once", () => {
    expect(trained({})).toEqual(baseWeights(model).map(({ name }) => name));
    expect(trained({})).not.toContain("lm_head.weight");
    expect(trained({}, { ...TINY_CONFIGS.llama, tie_word_embeddings: false })).toContain("lm_head.weight");
  });

  test("is what train names and freeze does not", () => {
    const mlp = ["gate", "up", "down"].map((x) => `model.layers.1.mlp.${x}_proj.weight`);
    expect(trained({ train: ["1.mlp"] })).toEqual(mlp);
    expect(trained({ train: ["1.mlp"], freeze: ["up_proj"] })).toEqual(mlp.filter((name) => !name.includes("up_proj")));
    const rest = trained({ freeze: ["layers", "lm_head"] });
    expect(rest).toEqual(["model.norm.weight"]);
  });

  test("must be something", () => {
    expect(() => trained({ train: ["mlp"], freeze: ["layers"] })).toThrow("adapter.freeze: expected something left to train, got all of what adapter.train names.");
    expect(() => trained({ freeze: ["c_attn"] })).toThrow("adapter.freeze: expected names of modules or tensors");
  });

  test("starts from the base's values", () => {
    const [first] = bind({ train: ["norm"] }).parameters;
    const values = Float32Array.of(3, -2);
    const none = (): never => { throw new Error("expected the base's values alone"); };
    expect(must(first, "a parameter").start({ base: (name) => (name === "model.norm.weight" ? values : none()), uniforms: none, normals: none, tokenize: none })).toEqual(values);
  });
});

describe("the gradient of every tensor in float64 is that of central differences", () => {
  test.each([
    ["llama, tied", TINIEST_LLAMA, {}],
    ["llama, untied", { ...TINIEST_LLAMA, tie_word_embeddings: false }, {}],
    ["llama, untied, only the output embedding frozen", { ...TINIEST_LLAMA, tie_word_embeddings: false }, { freeze: ["lm_head"] }],
    ["gpt2", TINIEST_GPT2, {}],
  ] as const)("%s", (_, config, settings) => {
    const gradients = tensorGradients(config, { method: "full", ...settings });
    expect(gradients.map(({ name }) => name)).toEqual(trained(settings, config));
    for (const { name, value, expected } of gradients) {
      expect([name, relativeError(value, expected) < 1e-6]).toEqual([name, true]);
      expect([name, expected.some((x) => Math.abs(x) > 1e-3)]).toEqual([name, true]);
    }
  });
});

describe("on the real engine", () => {
  test.each(["llama", "gpt2", "gemma2"] as const)("packs give the losses of their examples apart, and the merged model the adapter's: %s", async (name) => {
    const folder = join(root, name);
    writeTinyModel(folder, TINY_CONFIGS[name]);
    const { packed, apart } = await lossesOfPacks(folder, { method: "full" }, [9, 4, 6]);
    expect(relativeError(packed, apart)).toBeLessThan(1e-5);
    const { adapted, base, merged } = await lossesOfMerged(folder, { method: "full" }, { out: join(root, `${name}-merged`), lengths: [9, 4, 6] });
    expect(relativeError(merged, adapted)).toBeLessThan(1e-6);
    expect(relativeError(base, adapted)).toBeGreaterThan(0.01);
  });

  test("a tied output embedding that the file repeats is merged as its input embedding", () => {
    const folder = join(root, "repeated");
    writeTinyModel(folder, TINY_CONFIGS.llama, { edit: (tensors) => void tensors.set("lm_head.weight", must(tensors.get("model.embed_tokens.weight"), "embedding")) });
    const adapter = bind({ train: ["embed_tokens"] });
    const tensors = randomAdapter(adapter.parameters);
    exportMerged({ modelFolder: folder, out: join(root, "repeated-merged") }, model, adapter, tensors);
    const merged = readSafetensors(join(root, "repeated-merged", "model.safetensors")).tensors;
    for (const name of ["lm_head.weight", "model.embed_tokens.weight"]) expect(merged.get(name)?.data).toEqual(tensors.get("model.embed_tokens.weight")?.data);
  });
});
