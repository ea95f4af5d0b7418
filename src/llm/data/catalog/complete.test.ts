import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { loadExamples } from "../load-examples.ts";
import { dataSchema, partitionSchema } from "../settings.ts";
import { buildPartition } from "../partition/build.ts";
import { completeSettings } from "./complete.ts";

const root = mkdtempSync(join(tmpdir(), "fedtune-complete-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));

const SHARED = "../shared/data";
const shared = { environment: { FEDTUNE_DATA: SHARED } };

/** Options under which a built-in data set that has no known hash lies in FEDTUNE_DATA. */
function withFile(path: string, content: string): { readonly locate: { readonly environment: Record<string, string> } } {
  const folder = mkdtempSync(join(root, "data-"));
  mkdirSync(dirname(join(folder, path)), { recursive: true });
  writeFileSync(join(folder, path), content);
  return { locate: { environment: { FEDTUNE_DATA: folder } } };
}

describe("a config that names a built-in data set", () => {
  it("gets its mapping, its own words going first", () => {
    expect(completeSettings(dataSchema.parse({ name: "dolly-15k-fedit10", fields: { category: "kind" } }))).toMatchObject({ fields: { instruction: "instruction", input: "context", output: "response", category: "kind" }, client_field: "client", split_field: "split", part: "train" });
    expect(completeSettings(dataSchema.parse({ name: "gsm8k", part: "test", fields: { text: "question" } })).fields).toEqual({ text: "question" });
    expect(completeSettings(dataSchema.parse({ path: "a.jsonl" }))).toEqual(dataSchema.parse({ path: "a.jsonl" }));
    expect(() => completeSettings(dataSchema.parse({ name: "dolly" }))).toThrow(/data.name: .*got `dolly`/);
  });

  it("has rows as the reference system has them: GSM8K's answers name the answer, Rosetta's assembly is left out", async () => {
    const rosetta = await loadExamples(
      dataSchema.parse({ name: "rosetta_alpaca" }),
      ".",
      withFile("codealpaca/rosetta_alpaca.json", JSON.stringify(["Go", "X86-64 Assembly", "C++"].map((input) => ({ instruction: "Sort.", input, output: "…" })))),
    );
    expect(rosetta.examples.map((e) => e.fields["input"])).toEqual(["Go", "C++"]);
    expect(rosetta.recipe).toContain("X86-64 Assembly");
  });

  it("is refused by name where its file is not what the mapping says", async () => {
    const broken = loadExamples(dataSchema.parse({ name: "dolly-15k" }), ".", withFile("dolly15k/databricks-dolly-15k.jsonl", '{"prompt": "a", "answer": "b"}\n'));
    await expect(broken).rejects.toThrow(/dolly-15k\/databricks-dolly-15k.jsonl:1: expected a field `context` \(data.fields.input\) in some row, got fields prompt, answer/);
  });

  it.skipIf(!existsSync(SHARED))("reads each part of GSM8K, with the answer named in words (needs ../shared)", async () => {
    const { examples, files } = await loadExamples(dataSchema.parse({ name: "gsm8k" }), ".", { locate: shared });
    expect(examples).toHaveLength(7473);
    expect(examples.every((e) => e.kind === "instruction" && /The answer is -?[\d,]+$/.test(e.output) && !e.output.includes("####"))).toBe(true);
    expect(files).toMatchObject([{ path: "gsm8k/train.jsonl", rows: 7473 }]);
    expect((await loadExamples(dataSchema.parse({ name: "gsm8k", part: "test" }), ".", { locate: shared })).examples).toHaveLength(1319);
  });

  it.skipIf(!existsSync(SHARED))("keeps Dolly's ten published clients without a further word (needs ../shared)", async () => {
    const data = completeSettings(dataSchema.parse({ name: "dolly-15k-fedit10" }));
    const { partition } = buildPartition({ source: await loadExamples(data, ".", { locate: shared }), data, partition: partitionSchema.parse({ method: "own" }), seed: 1 });
    expect([partition.clients.length, partition.globalTest.length]).toEqual([10, 80]);
  });

  it.skipIf(!existsSync(SHARED))("makes a federation by language of CodeAlpaca, which has no such column (needs ../shared)", async () => {
    const data = completeSettings(dataSchema.parse({ name: "codealpaca-6.5k" }));
    const source = await loadExamples(data, ".", { locate: shared });
    for (const field of ["language", "category"]) {
      const { manifest } = buildPartition({ source, data, partition: partitionSchema.parse({ method: "field", field }), seed: 1 });
      expect(manifest.clients.map((c) => c.name)).toEqual(["C", "C#", "C++", "Java", "JavaScript", "PHP", "Python", "SQL", "Shell"]);
      expect(manifest.leftOut.some(({ name, rows }) => name === "Ruby" && rows === 40)).toBe(true);
    }
  });

  it.skipIf(!existsSync(SHARED))("splits Shakespeare's plays by speaker (needs ../shared)", async () => {
    const data = completeSettings(dataSchema.parse({ name: "tinyshakespeare", template: "plain" }));
    const source = await loadExamples(data, ".", { locate: shared });
    const { manifest } = buildPartition({ source, data, partition: partitionSchema.parse({ method: "field", field: "speaker", min_examples: 100 }), seed: 1 });
    expect(manifest.clients.map((c) => c.name)).toContain("GLOUCESTER");
    expect(manifest.leftOut.length).toBeGreaterThan(100);
  });
});

describe("compat fsllm of the data", () => {
  it("gives a row without the input field the word None, and one with an empty input none", async () => {
    const options = withFile("alpaca/alpaca_data.json", JSON.stringify([{ instruction: "a", output: "b" }, { instruction: "a", input: "", output: "b" }, { instruction: "a", input: "c", output: "b" }]));
    const inputs = async (compat?: string): Promise<readonly unknown[]> => (await loadExamples(dataSchema.parse({ name: "alpaca", compat }), ".", options)).examples.map((e) => (e.kind === "instruction" ? e.input : null));
    expect(await inputs()).toEqual([undefined, undefined, "c"]);
    expect(await inputs("fsllm")).toEqual(["None", undefined, "c"]);
  });
});
