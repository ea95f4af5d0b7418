import { cpSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { TINY_CONFIG, writeTinyLlama } from "../../../test/support/tiny-llama.ts";
import { randomAdapter, randomDataset, succeeded, temporaryFolder, tinySetup, trainAlone, valuesOf } from "../../../test/support/tiny-training.ts";
import { must } from "../../core/base/errors.ts";
import { tensor } from "../../core/base/tensor.ts";
import { bindAdapter } from "../adapters/all.ts";
import { openArchitecture } from "../architectures/all.ts";
import { prepareBase } from "../architectures/prepared-base.ts";
import { chooseFloat32Modules, standingOut } from "./float32-modules.ts";
import { holdPrecision, resolveRuntime } from "./resolve-runtime.ts";
import { measureRowRounding } from "./row-rounding.ts";
import { runtimeSchema } from "./settings.ts";

const root = temporaryFolder();
const eightBits = await holdPrecision("int8");
const LENGTHS = [9, 17, 12, 7, 14, 20];
const DOWN = "model.layers.1.mlp.down_proj";
const [PLAIN, PLANTED] = [join(root, "plain"), join(root, "planted")];
/** An element of the hidden layer, and how much larger it is made. */
const [ELEMENT, FACTOR] = [5, 300];

writeTinyLlama(PLAIN);
// The same function: one element of the rows that down_proj takes is larger, and its weights by as much smaller.
writeTinyLlama(PLANTED, { edit: (tensors) => {
  for (const [name, factor] of [["model.layers.1.mlp.up_proj.weight", FACTOR], [`${DOWN}.weight`, 1 / FACTOR]] as const) {
    const { dtype, shape, data } = must(tensors.get(name), name);
    const columns = must(shape[1], "columns");
    const at = (i: number): number => (factor > 1 ? Math.floor(i / columns) : i % columns);
    tensors.set(name, tensor(dtype, shape, Float32Array.from(Array.from(data, Number), (x, i) => (at(i) === ELEMENT ? x * factor : x))));
  }
} });

const dataset = randomDataset(LENGTHS, TINY_CONFIG.vocab_size);
const texts = LENGTHS.map((_, i) => dataset.ids.slice(dataset.offsets[i], dataset.offsets[i + 1]));

async function standOutOf(folder: string): Promise<readonly string[]> {
  const model = await openArchitecture(folder);
  return standingOut(await measureRowRounding(await prepareBase(folder, model, { precision: eightBits }), model, texts));
}

/** The gradient of a first step (what plain SGD at rate 1 subtracts). */
async function gradientOf(folder: string, base: { readonly basePrecision: typeof eightBits; readonly float32Modules?: readonly string[] }): Promise<readonly number[]> {
  const plain = tinySetup(folder, dataset, { adapter: { target_modules: ["q_proj", "v_proj"] }, training: { optimizer: { name: "sgd" }, learning_rate: 1, max_grad_norm: 0, batch_size: LENGTHS.length } });
  const setup = { ...plain, runtime: { ...plain.runtime, ...base } };
  const start = randomAdapter(bindAdapter(setup.adapter, await openArchitecture(folder)).parameters);
  const after = valuesOf(succeeded((await trainAlone(setup, [{ client: 0, round: 1, steps: 1, stepsDone: 0, totalSteps: 1, adapter: start, examples: Int32Array.from(LENGTHS.keys()) }]))[0]).adapter);
  return Array.from(valuesOf(start), (x, i) => x - (after[i] ?? 0));
}

test("a module stands out by outliers in its rows, none where there are none; in float32 it gives back the gradient that they cost", async () => {
  expect(await standOutOf(PLAIN)).toEqual([]);
  const found = await standOutOf(PLANTED);
  expect(found).toEqual([DOWN]);
  const exact = await gradientOf(PLANTED, { basePrecision: "float32" });
  const error = async (float32Modules: readonly string[]): Promise<number> => {
    const rounded = await gradientOf(PLANTED, { basePrecision: eightBits, float32Modules });
    return Math.hypot(...rounded.map((x, i) => x - (exact[i] ?? 0))) / Math.hypot(...exact);
  };
  const [all, kept] = [await error([]), await error(found)];
  expect(kept).toBeLessThan(0.6 * all);
  expect(kept).toBeGreaterThan(0);
});

test("a base that keeps a module in float32 is another file, in which that module's weight is as the checkpoint has it", async () => {
  const model = await openArchitecture(PLAIN);
  const [all, kept] = [await prepareBase(PLAIN, model, { precision: eightBits }), await prepareBase(PLAIN, model, { precision: eightBits, float32Modules: [DOWN] })];
  expect(kept.weights.locate("model.norm.weight").file).not.toBe(all.weights.locate("model.norm.weight").file);
  expect([all, kept].map(({ rounded }) => must(rounded, "rounded").tensors.has(`${DOWN}.weight`))).toEqual([true, false]);
  expect(kept.weights.locate(`${DOWN}.weight`).length).toBe(4 * TINY_CONFIG.hidden_size * TINY_CONFIG.intermediate_size);
});

test("names mean modules by their paths or ends, with those that are joined with them; one that means none is refused by name", async () => {
  const opened = { folder: PLAIN, model: await openArchitecture(PLAIN) };
  expect(await chooseFloat32Modules(["layers.1.mlp.down_proj", "v_proj"], "int4", opened)).toEqual([0, 1].flatMap((i) => ["q_proj", "k_proj", "v_proj"].map((name) => `model.layers.${i}.self_attn.${name}`)).concat(DOWN));
  expect(await chooseFloat32Modules(["down_proj"], "float32", opened)).toEqual([]);
  expect(await chooseFloat32Modules([], eightBits, opened)).toEqual([]);
  for (const precision of [eightBits, "float32"] as const) {
    await expect(chooseFloat32Modules(["o_proj", "down_porj"], precision, opened)).rejects.toMatchObject({
      code: "config", message: "runtime.float32_modules: expected auto, or linear modules that the model has (q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj), got `down_porj`, which matches none. Did you mean `down_proj`?",
    });
  }
});

test("auto measures 8 bits alone, by texts of the model's own tokenizer, and remembers what it found", async () => {
  const story = join(root, "story");
  cpSync(fileURLToPath(new URL("../../../assets/stories260k", import.meta.url)), story, { recursive: true });
  const opened = { folder: story, model: await openArchitecture(story) };
  const facts = { hiddenSize: 64, clients: 1, stepTokens: 10, opened };
  expect((await resolveRuntime(runtimeSchema.parse({ base_precision: "int4" }), facts)).float32Modules).toBeUndefined();
  const found = await chooseFloat32Modules("auto", eightBits, opened);
  expect(await chooseFloat32Modules("auto", eightBits, opened)).toEqual(found);
  const settings = runtimeSchema.parse({ base_precision: "int8" });
  expect((await resolveRuntime(settings, facts)).float32Modules ?? []).toEqual(found);
  expect((await resolveRuntime({ ...settings, float32_modules: ["o_proj"] }, facts)).float32Modules).toHaveLength(opened.model.layers);
});
