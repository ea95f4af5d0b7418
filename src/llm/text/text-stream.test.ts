import fc from "fast-check";
import { existsSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { createTextStream } from "./text-stream.ts";
import { loadTokenizer, type Tokenizer } from "./tokenizer.ts";

const MODELS = [["a tokenizer with byte fallback", "assets/stories260k"], ["a byte-level tokenizer (needs ../shared)", "../shared/models/minimind2-small"]] as const;

/** What each token adds, and what is left at the end. */
function stream(tokenizer: Tokenizer, ids: readonly number[], prompt: readonly number[]): readonly string[] {
  const texts = createTextStream(tokenizer, { prompt, skipSpecialTokens: false });
  return [...ids.map((id) => texts.push(id)), texts.finish()];
}

describe.each(MODELS)("the text stream of %s", (_, folder) => {
  it.skipIf(!existsSync(folder))("joins to the text, and no part of it holds half a character", () => {
    const tokenizer = loadTokenizer(folder);
    const prompt = [...tokenizer.encode("Say:", { addSpecialTokens: true })];
    const start = tokenizer.decode(prompt, { skipSpecialTokens: false });
    fc.assert(
      fc.property(fc.array(fc.constantFrom("a", " the", "é", "日本", "🦊", "👩‍🚀", "\n", " "), { minLength: 1, maxLength: 12 }), (words) => {
        const ids = [...tokenizer.encode(words.join(""), { addSpecialTokens: false })];
        const parts = stream(tokenizer, ids, prompt);
        expect(start + parts.join("")).toBe(tokenizer.decode([...prompt, ...ids], { skipSpecialTokens: false }));
        expect(parts.every((part) => !part.includes("\ufffd"))).toBe(true);
      }),
      { numRuns: 60 },
    );
  });

  it.skipIf(!existsSync(folder))("waits for the last byte of a character and shows a replacement only where it never comes", () => {
    const tokenizer = loadTokenizer(folder);
    const ids = [...tokenizer.encode("🦊", { addSpecialTokens: false })];
    expect(ids.length).toBeGreaterThan(2);
    const whole = stream(tokenizer, ids, []);
    expect(whole.slice(0, -2).join("").trim()).toBe("");
    expect(whole.join("").trim()).toBe("🦊");
    expect(stream(tokenizer, ids.slice(0, -1), []).join("").trim()).toMatch(/^\ufffd+$/);
  });
});

describe("a text stream", () => {
  it("keeps the space that begins a continuation, which a text of its own would lose", () => {
    const tokenizer = loadTokenizer("assets/stories260k");
    const prompt = [...tokenizer.encode("Lily.", { addSpecialTokens: true })];
    const [id = 0] = tokenizer.encode("She", { addSpecialTokens: false });
    expect(stream(tokenizer, [id], prompt).join("")).toBe(" She");
    expect(stream(tokenizer, [id], []).join("")).toBe("She");
  });
});
