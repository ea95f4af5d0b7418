import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { sha256 } from "../../core/base/hash.ts";
import { loadTokenizer, type Tokenizer } from "../text/tokenizer.ts";
import { encodeCached, encodedKey } from "./encoded-cache.ts";
import { encodeExample, encodePrompt } from "./encode-example.ts";
import { encodeExamples } from "./encode.ts";
import type { Example, InstructionExample } from "./examples.ts";
import { loadExamples, type LoadedExamples } from "./load-examples.ts";
import { dataSchema } from "./settings.ts";
import { alpaca } from "./templates/alpaca.ts";
import { loadTemplate } from "./templates/load.ts";
import type { PromptTemplate } from "./templates/template.ts";

const stories = loadTokenizer("assets/stories260k");
const CHATML = "{% for m in messages %}<|{{ m.role }}|>\n{{ m.content }}</s>\n{% endfor %}{% if add_generation_prompt %}<|assistant|>\n{% endif %}";
const folder = mkdtempSync(join(tmpdir(), "fedtune-encode-"));
afterAll(() => rmSync(folder, { recursive: true }));

function instruction(task: string, output: string, input?: string): InstructionExample {
  return { kind: "instruction", instruction: task, output, ...(input === undefined ? {} : { input }), fields: { category: "c" } };
}

async function template(name: string, options: { readonly system?: string; readonly tokenizer?: Tokenizer } = {}): Promise<PromptTemplate> {
  const settings = dataSchema.parse({ path: "x", template: name, ...(options.system === undefined ? {} : { system: options.system }) });
  return loadTemplate(settings, { tokenizer: options.tokenizer ?? { ...stories, chatTemplate: { source: CHATML, file: "chat" } }, baseFolder: folder });
}

/** An example's text and what of it is learnt, as token texts joined. */
async function encode(example: Example, name: string, options: { readonly maxTokens?: number; readonly overflow?: "truncate" | "drop"; readonly system?: string } = {}): Promise<{ all: string; learnt: string; length: number } | undefined> {
  const context = { tokenizer: stories, template: await template(name, options), settings: { max_tokens: options.maxTokens ?? 512, overflow: options.overflow ?? "truncate" } } as const;
  const encoded = encodeExample(example, context);
  if (encoded === undefined) return undefined;
  const text = (ids: readonly number[]): string => ids.map((id) => stories.tokenText(id)).join("").replaceAll("▁", " ").replaceAll(/<0x(..)>/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
  expect(encoded.labels.every((label, p) => label === -100 || label === encoded.ids[p])).toBe(true);
  return { all: text(encoded.ids), learnt: text(encoded.labels.filter((label) => label !== -100)), length: encoded.ids.length };
}

const WITHOUT = "Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n### Instruction:\nAdd.\n\n### Response:";
const WITH = "Below is an instruction that describes a task, paired with an input that provides further context. Write a response that appropriately completes the request.\n\n### Instruction:\nAdd.\n\n### Input:\n2 3\n\n### Response:";

describe("the template", () => {
  it("alpaca writes the published prompt, with and without input, and learns the answer and the end token", async () => {
    const alpaca = await template("alpaca");
    expect(alpaca.render(instruction("Add.", "5"))).toEqual({ pieces: [{ text: WITHOUT, learn: false }, { text: "5", learn: true }], appendEos: true });
    expect(alpaca.render(instruction("Add.", "5", "2 3")).pieces[0]?.text).toBe(WITH);
    expect(await encode(instruction("Add.", "five"), "alpaca")).toMatchObject({ all: `<s> ${WITHOUT} five</s>`, learnt: " five</s>" });
  });

  it("chat makes one user turn of instruction and input, and puts the system prompt before what has none", async () => {
    expect((await encode(instruction("Add.", "five", "2 3"), "chat"))?.all).toBe("<s> <|user|>\nAdd.\n\n2 3</s> \n<|assistant|>\n five</s>");
    const said = await encode(instruction("Add.", "five"), "chat", { system: "Be brief." });
    expect(said?.all).toContain("<|system|>\nBe brief.</s>");
    expect(said?.learnt).toBe(" five</s>");
    const own: Example = { kind: "conversation", fields: {}, messages: [{ role: "system", content: "Mine." }, { role: "user", content: "Hi" }, { role: "assistant", content: "Yo" }] };
    expect((await encode(own, "chat", { system: "Be brief." }))?.all).not.toContain("Be brief.");
  });

  it("plain learns a text whole, and of an instruction only the answer", async () => {
    expect(await encode({ kind: "text", text: "Once upon", fields: {} }, "plain")).toMatchObject({ all: "<s> Once upon</s>", learnt: " Once upon</s>" });
    expect(await encode(instruction("Add.", "five", "2 3"), "plain")).toMatchObject({ all: "<s> Add.\n2 3\n five</s>", learnt: " five</s>" });
  });

  it("of a Jinja file learns from the answer's place on, trimmed or not, and appends the end token where the file writes none", async () => {
    writeFileSync(join(folder, "q.jinja"), "Q: {{ instruction }} ({{ fields.category }})\nA: {{ output | trim }}\n");
    expect(await encode(instruction("Add.", " five "), "q.jinja")).toMatchObject({ all: "<s> Q: Add. (c)\nA:  five</s>", learnt: " five</s>" });
    writeFileSync(join(folder, "end.jinja"), "Q: {{ instruction }}\nA: {{ output }}{{ eos_token }}");
    expect((await encode(instruction("Add.", "five"), "end.jinja"))?.learnt).toBe(" five</s>");
    writeFileSync(join(folder, "chat.jinja"), CHATML);
    const conversation: Example = { kind: "conversation", fields: {}, messages: [{ role: "user", content: "Hi" }, { role: "assistant", content: "Yo" }] };
    expect((await encode(conversation, "chat.jinja"))?.learnt).toBe(" Yo</s>");
    writeFileSync(join(folder, "none.jinja"), "Q: {{ instruction }}");
    await expect(encode(instruction("Add.", "five"), "none.jinja")).rejects.toThrow(/none.jinja: expected a template that writes {{ output }} once, got one that never does/);
  });

  it("of a module of one's own gives the pieces that it returns", async () => {
    writeFileSync(join(folder, "mine.mjs"), "export default (e) => [{ text: `${e.instruction}=`, learn: false }, { text: e.output, learn: true }];");
    expect(await encode(instruction("Add", "five"), "mine.mjs")).toMatchObject({ all: "<s> Add= five</s>", learnt: " five</s>" });
    writeFileSync(join(folder, "wrong.mjs"), "export default () => 'text';");
    await expect(encode(instruction("Add", "five"), "wrong.mjs")).rejects.toThrow(/wrong.mjs: expected a list of {text, learn}/);
    await expect(encode(instruction("Add", "five"), "gone.mjs")).rejects.toThrow(/gone.mjs: expected a TypeScript or JavaScript module/);
  });

  it("refuses, with the row, an example of a kind that it has no form for", async () => {
    const text: Example = { kind: "text", text: "a", fields: {}, origin: { file: "a.jsonl", at: 4, unit: "line" } };
    await expect(encode(text, "alpaca")).rejects.toThrow(/a.jsonl:4: expected rows with an instruction .* got plain text. Set data.template to plain/);
    await expect(encode(text, "chat")).rejects.toThrow(/a.jsonl:4: .*Set data.template to plain/);
  });
});

describe("an encoded example", () => {
  it("is cut to max_tokens, or left out where overflow is drop or no learnt token remains", async () => {
    const whole = await encode(instruction("Add.", "one two three"), "plain");
    const length = whole?.length ?? 0;
    expect((await encode(instruction("Add.", "one two three"), "plain", { maxTokens: length - 1 }))?.length).toBe(length - 1);
    expect(await encode(instruction("Add.", "one two three"), "plain", { maxTokens: length, overflow: "drop" })).toEqual(whole);
    expect(await encode(instruction("Add.", "one two three"), "plain", { maxTokens: length - 1, overflow: "drop" })).toBeUndefined();
    expect(await encode(instruction("Add.", "one two three"), "alpaca", { maxTokens: 20 })).toBeUndefined();
  });

  it("leaves off what follows the last learnt token, before it is cut", async () => {
    const turns: Example = { kind: "conversation", fields: {}, messages: [{ role: "user", content: "Hi" }, { role: "assistant", content: "Yo" }, { role: "user", content: "And then, what else is there?" }] };
    const encoded = await encode(turns, "chat");
    expect(encoded?.all.endsWith(" Yo</s>")).toBe(true);
    expect((await encode(turns, "chat", { maxTokens: encoded?.length ?? 0, overflow: "drop" }))?.length).toBe(encoded?.length);
  });

  it("ends with the last learnt token also where the cut falls into a later question", async () => {
    const turn = [{ role: "user", content: "Hi" }, { role: "assistant", content: "Yo" }];
    const one = await encode({ kind: "conversation", fields: {}, messages: turn }, "chat");
    const two: Example = { kind: "conversation", fields: {}, messages: [...turn, ...turn] };
    expect((await encode(two, "chat", { maxTokens: (one?.length ?? 0) + 3 }))?.all).toBe(one?.all);
  });

  it("is left out where its one token has nothing before it that could predict it", async () => {
    const { bosId: _, ...noBos } = stories;
    const context = { template: await template("plain"), settings: { max_tokens: 512, overflow: "truncate" } } as const;
    expect(encodeExample({ kind: "text", text: "", fields: {} }, { ...context, tokenizer: noBos })).toBeUndefined();
    expect(encodeExample({ kind: "text", text: "", fields: {} }, { ...context, tokenizer: stories })?.ids).toEqual([1, 2]);
  });

  it("begins with one bos, also where the template writes it", async () => {
    writeFileSync(join(folder, "bos.jinja"), "{{ bos_token }}Q: {{ instruction }}\nA: {{ output }}");
    expect((await encode(instruction("Add.", "five"), "bos.jinja"))?.all).toMatch(/^<s> Q:/);
  });

  it("begins as the prompt that a model is given to continue", async () => {
    const context = { tokenizer: stories, template: await template("alpaca"), settings: { max_tokens: 512, overflow: "truncate" } } as const;
    const prompt = encodePrompt(instruction("Add.", ""), context);
    const encoded = encodeExample(instruction("Add.", "five"), context);
    expect(encoded?.ids.slice(0, prompt.length)).toEqual([...prompt]);
    expect(encoded?.labels.findIndex((label) => label !== -100)).toBe(prompt.length);
  });
});

describe("encoding a data set", () => {
  it("counts what is truncated and dropped, and says which example each encoded one was", async () => {
    const examples = [instruction("a", "one"), instruction("a", "one ".repeat(60)), instruction("a ".repeat(90), "one")];
    const progress: number[] = [];
    const { dataset, report, kept } = await encodeExamples(examples, {
      tokenizer: stories, template: await template("plain"), settings: { max_tokens: 50, overflow: "truncate" }, onProgress: (done) => progress.push(done),
    });
    expect([...kept]).toEqual([0, 1]);
    expect(report).toMatchObject({ examples: 3, truncated: 1, dropped: 1, tokens: dataset.ids.length });
    expect(report.labelledTokens).toBe(dataset.labels.filter((label) => label !== -100).length);
    expect(dataset.offsets[2]).toBe(dataset.ids.length);
    expect(dataset.ids.buffer).toBeInstanceOf(SharedArrayBuffer);
    expect([progress[0], progress.at(-1)]).toEqual([0, 3]);
  });

  it("stops as interrupted once it is asked to", async () => {
    const options = { tokenizer: stories, template: await template("plain"), settings: { max_tokens: 50, overflow: "truncate" }, signal: AbortSignal.abort() } as const;
    await expect(encodeExamples([instruction("a", "b")], options)).rejects.toMatchObject({ code: "interrupted" });
  });

  it("is kept in a file, which a change of limit, template or data does not reuse and damage does not break", async () => {
    const examples = [instruction("a", "one"), instruction("b", "two")];
    const source: LoadedExamples = { examples, records: [], fields: { kind: "instruction", instruction: "i", output: "o" }, files: [{ path: "a", sha256: "1", rows: 2 }] };
    const options = { tokenizer: stories, template: await template("plain"), settings: { max_tokens: 50, overflow: "truncate" }, folder: join(folder, "cache") } as const;
    const fresh = await encodeCached(source, options);
    let encodedAgain = false;
    const again = await encodeCached(source, { ...options, onProgress: () => (encodedAgain = true) });
    expect(again).toEqual(fresh);
    expect(encodedAgain).toBe(false);
    const keys = [
      encodedKey(source, options),
      encodedKey(source, { ...options, settings: { max_tokens: 49, overflow: "truncate" } }),
      encodedKey(source, { ...options, template: await template("alpaca") }),
      encodedKey({ ...source, files: [{ path: "a", sha256: "2", rows: 2 }] }, options),
    ];
    expect(new Set(keys).size).toBe(4);
    const [file = ""] = readdirSync(options.folder);
    writeFileSync(join(options.folder, file), readFileSync(join(options.folder, file)).subarray(0, -8));
    expect(await encodeCached(source, options)).toEqual(fresh);
  });
});

describe("rows of Dolly-15k", () => {
  const [model, data] = ["../shared/models/minimind2-small", "../shared/data/dolly15k/dolly15k-fedit10.jsonl"];
  it.skipIf(!existsSync(model) || !existsSync(data))("have the ids and labels that Python's tokenizers and the recorded peer give (needs ../shared)", async () => {
    // SHA-256 of JSON [index, ids, labels] a line, by peer_rows.py's rule with tokenizers 0.23.3, first 300 rows, 512 tokens.
    const recorded = "2b520a56a102bd67e861ffbfa1fca9e68b69541df44ed38908c1674557eb332f";
    const tokenizer = loadTokenizer(model);
    const loaded = await loadExamples(dataSchema.parse({ path: data }), ".");
    const { dataset, kept } = await encodeExamples(loaded.examples.slice(0, 300), { tokenizer, template: alpaca, settings: { max_tokens: 512, overflow: "truncate" } });
    const part = (values: Int32Array, i: number): number[] => [...values.subarray(dataset.offsets[i], dataset.offsets[i + 1])];
    const lines = [...kept].map((row, i) => JSON.stringify([row, part(dataset.ids, i), part(dataset.labels, i)]));
    expect(sha256(`${lines.join("\n")}\n`)).toBe(recorded);
  });
});

describe("the model's own chat template", () => {
  const path = "../shared/models/minimind2-small";
  it.skipIf(!existsSync(path))("of minimind2-small labels each answer and its end token, and begins with the bos once (needs ../shared)", async () => {
    const tokenizer = loadTokenizer(path);
    const messages = [
      { role: "user", content: "One?" }, { role: "assistant", content: "First." }, { role: "user", content: "Two?" }, { role: "assistant", content: "Second." },
    ];
    const encoded = encodeExample({ kind: "conversation", messages, fields: {} }, { tokenizer, template: await template("chat", { tokenizer }), settings: { max_tokens: 512, overflow: "truncate" } });
    const text = tokenizer.decode(encoded?.ids ?? [], { skipSpecialTokens: false });
    expect(text).toBe("<|im_start|>system\nYou are a helpful assistant<|im_end|>\n<|im_start|>user\nOne?<|im_end|>\n<|im_start|>assistant\nFirst.<|im_end|>\n<|im_start|>user\nTwo?<|im_end|>\n<|im_start|>assistant\nSecond.<|im_end|>");
    expect(tokenizer.decode((encoded?.labels ?? []).filter((label) => label !== -100), { skipSpecialTokens: false })).toBe("First.<|im_end|>Second.<|im_end|>");
  });
});
