import { cpSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { randomAdapter, temporaryFolder } from "../../../test/support/tiny-training.ts";
import { aliveResources } from "../../core/base/disposal.ts";
import { writeAdapterFolder } from "../adapters/adapter-folder.ts";
import { bindAdapter } from "../adapters/all.ts";
import { adapterSchema } from "../adapters/settings.ts";
import { openArchitecture } from "../architectures/all.ts";
import { exportAdapter } from "./export-adapter.ts";
import { generate, openChat, type TextOptions } from "./text-model.ts";

const MODEL = "assets/stories260k";
const root = temporaryFolder();
const model = await openArchitecture(MODEL);
const OPTIONS: TextOptions = { model: MODEL, maxNewTokens: 12, temperature: 0, topK: 0, topP: 1, stop: [], seed: 3 };
const prompt = "Once upon a time, there was a little girl named Lily.";

/** A folder with a random adapter for this model, strong enough to change what is written. */
function adapterFolder(name: string, rank = 4): string {
  const settings = adapterSchema.parse({ r: rank, lora_alpha: 40, target_modules: "all-linear" });
  writeAdapterFolder(join(root, name), { settings, model, baseModel: MODEL, parameters: randomAdapter(bindAdapter(settings, model).parameters), frozen: new Map() });
  return join(root, name);
}

describe("generating text", () => {
  test("continues the prompt piece by piece; the pieces are the text", async () => {
    const pieces: string[] = [];
    const written = await generate({ ...OPTIONS, prompt }, { onText: (piece) => pieces.push(piece) });
    expect(written.text).toBe(" She loved to play outside in the");
    expect(pieces.join("")).toBe(written.text);
    expect(pieces.length).toBeGreaterThan(5);
    expect(written).toMatchObject({ newTokens: 12, promptTokens: 16 });
    expect(aliveResources()).toBe(0);
  });

  test("under an adapter writes what the merged model writes", async () => {
    const adapter = adapterFolder("adapter");
    const adapted = await generate({ ...OPTIONS, prompt, adapter });
    const merged = await exportAdapter({ source: adapter, out: join(root, "merged"), format: "merged" });
    expect(merged.files).toContain("model.safetensors");
    expect((await generate({ ...OPTIONS, model: merged.folder, prompt })).text).toBe(adapted.text);
    expect(adapted.text).not.toContain("She loved to play");
  });

  test("with an adapter that does not fit ends with its reason, and leaves no worker behind", async () => {
    const adapter = adapterFolder("unfit");
    const path = join(adapter, "adapter_config.json");
    writeFileSync(path, readFileSync(path, "utf8").replace('"r": 4', '"r": 5'));
    await expect(generate({ ...OPTIONS, prompt, adapter })).rejects.toThrow("expected shape [5, 64], got [4, 64]");
    await expect(openChat({ ...OPTIONS, adapter })).rejects.toMatchObject({ code: "model" });
    expect(aliveResources()).toBe(0);
  });

  test("a conversation with a model that has no chat template is refused, and leaves no worker behind", async () => {
    await expect(openChat(OPTIONS)).rejects.toMatchObject({ code: "model" });
    expect(aliveResources()).toBe(0);
  });
});

test("a conversation remembers its turns until it is reset", async () => {
  const folder = join(root, "with-template");
  cpSync(MODEL, folder, { recursive: true });
  writeFileSync(join(folder, "chat_template.jinja"), "{% for m in messages %}{{ m.content }} {% endfor %}");
  await using chat = await openChat({ ...OPTIONS, model: folder, system: "Tim was sad." });
  const first = await chat.send("Lily ran.", {});
  const second = await chat.send("Lily ran.", {});
  chat.reset();
  const again = await chat.send("Lily ran.", {});
  expect(again).toEqual(first);
  expect(second.promptTokens).toBeGreaterThan(first.promptTokens + first.newTokens);
});

describe("exporting an adapter", () => {
  test("from a run's folder or its own gives PEFT's two files, byte for byte", async () => {
    const source = adapterFolder("run/adapter");
    for (const from of [source, join(root, "run")]) {
      const { folder, files } = await exportAdapter({ source: from, out: join(root, "exported"), format: "peft" });
      expect(files).toEqual(["adapter_config.json", "adapter_model.safetensors"]);
      for (const name of files) expect(readFileSync(join(folder, name)).equals(readFileSync(join(source, name)))).toBe(true);
    }
  });

  test("is refused where there is none, and where it does not say of which model it is", async () => {
    await expect(exportAdapter({ source: join(root, "nowhere"), out: join(root, "x"), format: "peft" })).rejects.toMatchObject({ code: "model" });
    const nameless = adapterFolder("nameless");
    const path = join(nameless, "adapter_config.json");
    writeFileSync(path, readFileSync(path, "utf8").replace(`"${MODEL}"`, "null"));
    await expect(exportAdapter({ source: nameless, out: join(root, "x"), format: "peft" })).rejects.toThrow("Give --model");
    expect((await exportAdapter({ source: nameless, out: join(root, "x"), format: "peft", model: MODEL })).files).toHaveLength(2);
  });
});
