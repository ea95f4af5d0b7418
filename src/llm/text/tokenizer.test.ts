import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { loadTokenizer, requireTokenizerFits } from "./tokenizer.ts";

const STORIES = "assets/stories260k";
const folder = mkdtempSync(join(tmpdir(), "fedtune-tokenizer-"));
afterAll(() => rmSync(folder, { recursive: true }));

/** A copy of the story model's tokenizer, its tokenizer_config.json changed. */
function variant(name: string, change: Record<string, unknown>): string {
  const path = join(folder, name);
  for (const file of ["tokenizer.json", "tokenizer_config.json", "config.json"]) cpSync(join(STORIES, file), join(path, file), { recursive: true });
  const config = JSON.parse(readFileSync(join(path, "tokenizer_config.json"), "utf8")) as object;
  writeFileSync(join(path, "tokenizer_config.json"), JSON.stringify({ ...config, ...change }));
  return path;
}

interface Golden {
  readonly cases: readonly { readonly text: string; readonly ids: readonly number[] }[];
}

describe.each(["stories260k", "minimind2-small"])("the tokenizer of %s", (name) => {
  const path = `../shared/models/${name}`;
  it.skipIf(!existsSync(path))("gives the ids that Python gives, and the text back (needs ../shared)", () => {
    const tokenizer = loadTokenizer(path);
    const golden = JSON.parse(readFileSync(join(path, "golden.json"), "utf8")) as Golden;
    for (const { text, ids } of golden.cases) {
      const encoded = tokenizer.encode(text, { addSpecialTokens: true });
      expect([...encoded]).toEqual(ids);
      // minimind's texts name their special tokens themselves; those of stories come from the tokenizer.
      expect(tokenizer.decode(encoded, { skipSpecialTokens: name === "stories260k" })).toBe(text);
    }
  });
});

describe("a tokenizer", () => {
  it("knows its special tokens and its highest id", () => {
    const tokenizer = loadTokenizer(STORIES);
    expect(tokenizer).toMatchObject({ bosId: 1, eosId: 2, endIds: [2], addsBos: true, vocabularySize: 512 });
    expect(tokenizer.padId).toBeUndefined();
    expect(tokenizer.tokenText(1)).toBe("<s>");
  });

  it("leaves the bos off where add_bos_token is false, although the post-processor would add it", () => {
    const tokenizer = loadTokenizer(variant("no-bos", { add_bos_token: false }));
    expect(tokenizer.addsBos).toBe(false);
    expect([...tokenizer.encode("Once", { addSpecialTokens: true })]).toEqual([...tokenizer.encode("Once", { addSpecialTokens: false })]);
  });

  it("has no bos where its config says null, whatever the model's config says", () => {
    expect(loadTokenizer(variant("null-bos", { bos_token: null })).bosId).toBeUndefined();
  });

  it("ends texts at every id that generation_config.json names, its own eos first", () => {
    const path = variant("many-ends", {});
    writeFileSync(join(path, "generation_config.json"), JSON.stringify({ eos_token_id: [7, 2, 9] }));
    expect(loadTokenizer(path).endIds).toEqual([2, 7, 9]);
  });

  it("reads a chat template from its config, by name `default` in a list, and before both from chat_template.jinja", () => {
    expect(loadTokenizer(variant("one", { chat_template: "A" })).chatTemplate?.source).toBe("A");
    const path = variant("several", { chat_template: [{ name: "tools", template: "B" }, { name: "default", template: "C" }] });
    expect(loadTokenizer(path).chatTemplate?.source).toBe("C");
    writeFileSync(join(path, "chat_template.jinja"), "D");
    expect(loadTokenizer(path).chatTemplate?.source).toBe("D");
  });

  it("leaves out ids that no token has", () => {
    const tokenizer = loadTokenizer(STORIES);
    const ids = [...tokenizer.encode("Once upon", { addSpecialTokens: true }), 9999];
    expect(tokenizer.decode(ids, { skipSpecialTokens: true })).toBe("Once upon");
    expect(tokenizer.decode([9999], { skipSpecialTokens: true })).toBe("");
  });

  it("has another identity once its config changes", () => {
    expect(loadTokenizer(variant("identity", { add_bos_token: false })).identity).not.toBe(loadTokenizer(variant("identity-2", {})).identity);
  });

  it("is refused with the folder where tokenizer.json is missing, malformed or has no end token", () => {
    expect(() => loadTokenizer(folder)).toThrow(/expected a model folder with tokenizer.json/);
    const path = variant("broken", {});
    writeFileSync(join(path, "tokenizer.json"), "{");
    expect(() => loadTokenizer(path)).toThrow(/tokenizer.json: expected JSON/);
    writeFileSync(join(path, "tokenizer.json"), JSON.stringify({ model: { type: "Unheard" } }));
    expect(() => loadTokenizer(path)).toThrow(/@huggingface\/tokenizers can read/);
    const endless = variant("endless", { eos_token: null });
    writeFileSync(join(endless, "config.json"), "{}");
    expect(() => loadTokenizer(endless)).toThrow(/an end token/);
    expect(() => loadTokenizer(variant("unknown", { eos_token: "<nope>" }))).toThrow(/a token `<nope>`/);
  });

  it("is refused where its ids go beyond the model's vocabulary", () => {
    const tokenizer = loadTokenizer(STORIES);
    expect(() => requireTokenizerFits(tokenizer, 512)).not.toThrow();
    expect(() => requireTokenizerFits(tokenizer, 511)).toThrow(/below the model's vocab_size 511, got ids up to 511/);
  });
});
