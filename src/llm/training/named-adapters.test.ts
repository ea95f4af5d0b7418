import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { randomAdapter, temporaryFolder } from "../../../test/support/tiny-training.ts";
import { must } from "../../core/base/errors.ts";
import type { NamedTensors } from "../../core/base/tensor.ts";
import { openCheckpoint } from "../../core/formats/checkpoint.ts";
import { readAdapterSettings, readAdapterTensors, writeAdapterFolder } from "../adapters/adapter-folder.ts";
import { bindAdapter } from "../adapters/all.ts";
import { adapterSchema } from "../adapters/settings.ts";
import { openArchitecture } from "../architectures/all.ts";
import type { ArchitectureModel } from "../architectures/architecture.ts";
import { loadTokenizer } from "../text/tokenizer.ts";
import { openNamedAdapters, type NamedAdapters } from "./named-adapters.ts";
import { generate } from "./text-model.ts";

const MODEL = "assets/stories260k";
const folder = temporaryFolder();
const SETTINGS = {
  small: { r: 2, target_modules: ["q_proj", "v_proj"] },
  large: { r: 5, lora_alpha: 3, use_rslora: true, target_modules: ["v_proj", "down_proj"], rank_pattern: { "layers.1.mlp.down_proj": 3 } },
  twin: { r: 2, target_modules: ["q_proj", "v_proj"] },
  scaled: { method: "ia3", target_modules: ["k_proj", "down_proj"], feedforward_modules: ["down_proj"] },
  pissa: { r: 2, target_modules: ["q_proj"], init_lora_weights: "pissa" },
} as const;
const folders = Object.fromEntries(Object.keys(SETTINGS).map((name) => [name, join(folder, name)]));
let model: ArchitectureModel;
let named: NamedAdapters;

beforeAll(async () => {
  model = await openArchitecture(MODEL);
  for (const [i, [name, given]] of Object.entries(SETTINGS).entries()) {
    const settings = adapterSchema.parse(given);
    const adapter = bindAdapter(settings, model);
    const frozen = randomAdapter(adapter.frozen, 90 + i);
    writeAdapterFolder(must(folders[name], name), { settings, model, baseModel: MODEL, parameters: randomAdapter(adapter.parameters, i + 1), frozen });
  }
  named = await openNamedAdapters({ model: MODEL, adapters: folders });
});
afterAll(() => named[Symbol.asyncDispose]());

/** The weights of a model's linear modules merged with an adapter's folder, less the base's. */
function changes(path: string): ReadonlyMap<string, Float64Array> {
  const adapter = bindAdapter(readAdapterSettings(path), model);
  const { parameters, frozen } = readAdapterTensors(path, adapter);
  const all: NamedTensors<"float32"> = new Map([...parameters, ...frozen]);
  const checkpoint = openCheckpoint(MODEL);
  return new Map(model.linears.filter(({ isHead }) => !isHead).map(({ weight }) => {
    const { data, shape } = checkpoint.readFloat32(weight);
    const merged = typeof adapter.merge === "function" ? adapter.merge({ name: weight, shape, base: data, values: (name) => must(all.get(name), name).data }) : undefined;
    return [weight, Float64Array.from(data, (x, i) => (merged?.[i] ?? x) - x)];
  }));
}

describe("adapters added with weights", () => {
  test("LoRA of any ranks, modules and starts: each weight changes by the weighted sum of changes", () => {
    named.add("sum", { small: 0.5, large: -2, pissa: 0.25 });
    named.save("sum", join(folder, "sum"));
    const [sum, small, large, pissa] = ["sum", "small", "large", "pissa"].map((name) => changes(join(folder, name)));
    for (const [weight, change] of must(sum, "sum")) {
      const expected = change.map((_, i) => 0.5 * (small?.get(weight)?.[i] ?? 0) - 2 * (large?.get(weight)?.[i] ?? 0) + 0.25 * (pissa?.get(weight)?.[i] ?? 0));
      const norm = Math.hypot(...expected);
      expect(Math.hypot(...change.map((x, i) => x - (expected[i] ?? 0)))).toBeLessThanOrEqual(1e-6 * norm);
    }
    expect(Math.hypot(...must(sum?.get("model.layers.1.mlp.down_proj.weight"), "change"))).toBeGreaterThan(0.1);
  });

  test("others tensor by tensor", () => {
    named.add("half", { scaled: 0.5 });
    named.save("half", join(folder, "half"));
    const [half, whole] = ["half", "scaled"].map((name) => readAdapterTensors(join(folder, name), bindAdapter(readAdapterSettings(join(folder, name)), model)).parameters);
    for (const [name, { data }] of must(half, "half")) expect([...data]).toEqual([...must(whole?.get(name), name).data].map((x) => Math.fround(0.5 * x)));
  });

  test.each([
    ["methods that differ", { small: 1, scaled: 1 }, "adapters: expected adapters of one method (lora), got ia3"],
    ["a name that there is not", { smal: 1 }, "got `smal`. Did you mean `small`?"],
    ["a weight that is no number", { small: Number.NaN }, "expected weights that are numbers, got NaN"],
    ["nothing at all", {}, "expected at least one adapter, got none"],
  ])("%s are refused", (_, weights, message) => {
    expect(() => named.add("bad", weights as Record<string, number>)).toThrow(message);
  });
});

test("each prompt is answered under the adapter that it names, whatever stands beside it", async () => {
  const tokenizer = loadTokenizer(MODEL);
  const options = { maxNewTokens: 6, temperature: 0, topK: 0, topP: 1, stop: [], seed: 1, stopAtEnd: true };
  const text = "Once upon a time there was";
  const asked = ["small", null, "large", "twin", "scaled"] as const;
  const ids = tokenizer.encode(text, { addSpecialTokens: true });
  const together = await named.generate(asked.map((adapter) => ({ ids, adapter })), options);
  for (const [i, name] of asked.entries()) {
    const alone = await generate({ model: MODEL, prompt: text, maxNewTokens: 6, temperature: 0, topK: 0, topP: 1, stop: [], seed: 1, ...(name === null ? {} : { adapter: must(folders[name], name) }) });
    expect(tokenizer.decode(Int32Array.of(...ids, ...must(together[i], "text")), { skipSpecialTokens: true })).toBe(`${text}${alone.text}`);
  }
  expect(new Set(together.map(String)).size).toBeGreaterThan(2);
  await expect(named.generate([{ ids, adapter: "larg" }], options)).rejects.toThrow("Did you mean `large`?");
});
