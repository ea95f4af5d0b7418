import { beforeAll, describe, expect, test } from "vitest";
import { join } from "node:path";
import { randomAdapter, temporaryFolder } from "../../../test/support/tiny-training.ts";
import { must } from "../../core/base/errors.ts";
import { writeAdapterFolder } from "../adapters/adapter-folder.ts";
import { bindAdapter } from "../adapters/all.ts";
import { adapterSchema } from "../adapters/settings.ts";
import { openArchitecture } from "../architectures/all.ts";
import { GrowingTexts } from "./growing-texts.ts";
import { createLocalTrainer, openModel } from "./local-trainer.ts";
import { resolveRuntime } from "./resolve-runtime.ts";
import { runtimeSchema, trainingSchema } from "./settings.ts";
import { NO_EXAMPLES, type TrainerSetup } from "./setup.ts";
import type { GrownText, TextToGrow } from "./types.ts";

const MODEL = "assets/stories260k";
const folder = temporaryFolder();
const GREEDY = { temperature: 0, topK: 0, topP: 1, seed: 1 };
const ADAPTERS = {
  lora: { r: 3, target_modules: "all-linear" },
  prefix: { method: "prefix", num_virtual_tokens: 3 },
  prompt: { method: "prompt", num_virtual_tokens: 5 },
} as const;
const prompts = [[1, 403, 407], [1, 403, 407, 261, 378, 31, 12, 99, 200, 201], [1, 7, 8, 9, 10, 11, 12], [1, 44, 45, 46, 47, 300, 301, 302]].map((ids) => Int32Array.from(ids));
let runtime: TrainerSetup["runtime"];
beforeAll(async () => {
  runtime = await resolveRuntime(runtimeSchema.parse({ device: "cpu", threads: 1 }), { hiddenSize: 64, clients: 1, stepTokens: 1 });
});

async function setupOf(method: keyof typeof ADAPTERS): Promise<TrainerSetup> {
  const settings = adapterSchema.parse(ADAPTERS[method]);
  const model = await openArchitecture(MODEL);
  const path = join(folder, method);
  writeAdapterFolder(path, { settings, model, baseModel: MODEL, parameters: randomAdapter(bindAdapter(settings, model).parameters), frozen: new Map() });
  return { modelFolder: MODEL, adapter: { ...settings, init_from: path }, inferenceOnly: true, training: trainingSchema.parse({}), runtime, data: NO_EXAMPLES, packTokens: 1, seed: 0 };
}

const textOf = (id: number, adapter: string | null, more: Partial<TextToGrow> = {}): TextToGrow => ({ id, prompt: must(prompts[id], "prompt"), adapter, sampling: GREEDY, draw: 0, scorePrompt: false, top: 0, once: false, ...more });

describe.each(Object.keys(ADAPTERS) as (keyof typeof ADAPTERS)[])("under %s and the base", (method) => {
  test("texts that join and leave at any step grow as each does alone, with pieces of prompts or whole ones", async () => {
    const setup = await setupOf(method);
    await using trainer = await createLocalTrainer(setup, () => false);
    const tensors = [await trainer.initialAdapter(), randomAdapter(bindAdapter(must(setup.adapter, "adapter"), await openArchitecture(MODEL)).parameters, 77)] as const;
    const names = ["first", null, "second", "first"] as const;
    const options = { ...GREEDY, maxNewTokens: 9, stop: [], stopAtEnd: false };
    const alone: number[][] = [];
    for (const [i, name] of names.entries()) {
      const [written] = await trainer.generate({ prompts: [must(prompts[i], "prompt")], options, ...(name === null ? {} : { adapter: tensors[name === "first" ? 0 : 1] }) }, {});
      alone.push([...must(written, "text")]);
    }
    expect(new Set(alone.map(String)).size).toBe(4);
    const opened = await openModel(setup);
    await using sessions = opened.sessions;
    for (const tokensPerPass of [4, 512]) {
      const texts = new GrowingTexts({ ...opened, sessions, tokensPerPass, aborted: () => false });
      const written = new Map<number, number[]>();
      const take = (grown: readonly GrownText[]): void => grown.forEach(({ id, next }) => written.set(id, [...(written.get(id) ?? []), next.token]));
      // 0 and 1 begin; 2 joins; 0 leaves; 3 joins; 1 leaves.
      take(await texts.grow({ adapters: { first: tensors[0] }, drop: [], admit: [textOf(0, "first"), textOf(1, null)] }));
      take(await texts.grow({ adapters: { second: tensors[1] }, drop: [], admit: [textOf(2, "second")] }));
      for (let i = 0; i < 3; i++) take(await texts.grow({ adapters: {}, drop: [], admit: [] }));
      take(await texts.grow({ adapters: {}, drop: [0], admit: [textOf(3, "first")] }));
      for (let i = 0; i < 3; i++) take(await texts.grow({ adapters: {}, drop: [1, 99], admit: [] }));
      expect([0, 1, 2, 3].map((id) => written.get(id)?.length)).toEqual([5, 6, 8, 4]);
      for (const [id, tokens] of written) expect(tokens).toEqual(alone[id]?.slice(0, tokens.length));
    }
  });

  test("the prompt's log-probabilities are the scoring function's", async () => {
    const setup = await setupOf(method);
    await using trainer = await createLocalTrainer(setup, () => false);
    const first = await trainer.initialAdapter();
    const opened = await openModel(setup);
    await using sessions = opened.sessions;
    for (const adapter of ["first", null]) {
      const scores = await trainer.score({ ...(adapter === null ? {} : { adapter: first }), shared: new Int32Array(), texts: prompts.map((ids) => ({ ids, labels: ids, branches: [] })) }, {});
      for (const tokensPerPass of [4, 512]) {
        const texts = new GrowingTexts({ ...opened, sessions, tokensPerPass, aborted: () => false });
        const grown = await texts.grow({ adapters: { first }, drop: [], admit: prompts.map((_, id) => textOf(id, adapter, { scorePrompt: true, once: true, top: 3 })) });
        expect(grown).toHaveLength(4);
        for (const { id, prompt = [] } of grown) {
          expect(prompt.map(({ token }) => token)).toEqual(Array.from(must(prompts[id], "prompt").subarray(1)));
          const losses = must(scores[id], "scores").losses;
          prompt.forEach(({ logProbability, top }, i) => {
            expect(Math.abs(logProbability + (losses[i] ?? NaN))).toBeLessThan(1e-5 * (1 + (losses[i] ?? 0)));
            expect(top).toHaveLength(3);
            expect(logProbability).toBeLessThanOrEqual(top[0]?.logProbability ?? NaN);
          });
        }
      }
    }
  });
});

test("a stop is heeded, and afterwards no text is left", async () => {
  const opened = await openModel(await setupOf("lora"));
  await using sessions = opened.sessions;
  let stop = false;
  const texts = new GrowingTexts({ ...opened, sessions, tokensPerPass: 512, aborted: () => stop });
  await texts.grow({ adapters: {}, drop: [], admit: [textOf(0, null)] });
  stop = true;
  await expect(texts.grow({ adapters: {}, drop: [], admit: [] })).rejects.toMatchObject({ code: "interrupted" });
  stop = false;
  expect(await texts.grow({ adapters: {}, drop: [], admit: [] })).toEqual([]);
});
