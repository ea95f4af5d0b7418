import { describe, expect, it } from "vitest";
import { resolveFields, toExample, type Example } from "./examples.ts";
import type { RawRecord } from "./records.ts";
import { fieldsSchema, type FieldSettings } from "./settings.ts";

function records(...rows: readonly Readonly<Record<string, unknown>>[]): readonly RawRecord[] {
  return rows.map((fields, i) => ({ fields, origin: { file: "rows.jsonl", at: i + 1, unit: "line" } }));
}

function examples(rows: readonly Readonly<Record<string, unknown>>[], fields: Partial<FieldSettings> = {}): readonly Example[] {
  const all = records(...rows);
  const resolved = resolveFields(fieldsSchema.parse(fields), all);
  return all.map((record) => toExample(record, resolved));
}

describe("a row with an instruction", () => {
  it("is read by the usual names, an empty or missing input being none", () => {
    const rows = [{ instruction: "Add", response: 5, context: "" }, { instruction: "Name", response: "Ann", context: null }, { instruction: "Say", response: "", context: "hi" }];
    expect(examples(rows)).toMatchObject([
      { kind: "instruction", instruction: "Add", output: "5" },
      { kind: "instruction", instruction: "Name", output: "Ann" },
      { kind: "instruction", instruction: "Say", output: "", input: "hi" },
    ]);
    expect("input" in (examples(rows)[0] ?? {})).toBe(false);
  });

  it("is read by the names that the settings give", () => {
    expect(examples([{ task: "T", reply: "R", instruction: "no" }], { instruction: "task", output: "reply" })).toMatchObject([{ instruction: "T", output: "R" }]);
  });

  it("is refused with file, line, the fields it has and the nearest name where a field is missing", () => {
    const rows = [{ instruction: "a", output: "b" }, { instruction: "a", outptu: "b" }];
    expect(() => examples(rows)).toThrow("rows.jsonl:2: expected a field `output`, got fields instruction, outptu. Did you mean `outptu`?");
    expect(() => examples([{ instruktion: "a", output: "b" }])).toThrow(/rows.jsonl:1: expected a field `instruction`.*Did you mean `instruktion`/);
    expect(() => examples([{ instruction: "a", output: "b", contxt: "c" }], { input: "context" })).toThrow(/data.fields.input.*Did you mean `contxt`/);
  });

  it("is refused where a field is null or has parts", () => {
    expect(() => examples([{ instruction: "a", output: "b" }, { instruction: null, output: "b" }])).toThrow(/rows.jsonl:2: expected text in the field `instruction`, got null/);
    expect(() => examples([{ instruction: "a", output: ["b"] }])).toThrow(/got a list of 1/);
  });
});

describe("a row with a conversation", () => {
  it("is read in ShareGPT's form and in parts of text", () => {
    const rows = [
      { conversations: [{ from: "human", value: "Hi" }, { from: "gpt", value: "Hello" }] },
      { conversations: [{ role: "user", content: [{ type: "text", text: "A" }, { type: "text", text: "B" }] }, { role: "assistant", content: "C" }] },
    ];
    expect(examples(rows)).toMatchObject([
      { kind: "conversation", messages: [{ role: "user", content: "Hi" }, { role: "assistant", content: "Hello" }] },
      { kind: "conversation", messages: [{ role: "user", content: "AB" }, { role: "assistant", content: "C" }] },
    ]);
  });

  it("is refused with the message's place for an unknown role, no answer, or something that is no list", () => {
    expect(() => examples([{ messages: [{ role: "usr", content: "Hi" }] }])).toThrow(/rows.jsonl:1, field `messages`, message 1: expected a role among .* got `usr`. Did you mean `user`/);
    expect(() => examples([{ messages: [{ role: "user", content: "Hi" }] }])).toThrow(/a user's message and then an assistant's, got roles user/);
    expect(() => examples([{ chat: "Hi" }], { messages: "chat" })).toThrow(/expected a list of messages, got the text "Hi"/);
    expect(() => examples([{ messages: [{ role: "user" }] }])).toThrow(/expected {role, content} or {from, value}, got fields role/);
  });
});

describe("a row with text", () => {
  it("is read where there is neither an instruction nor a conversation", () => {
    expect(examples([{ text: "Once", title: "x" }])).toMatchObject([{ kind: "text", text: "Once" }]);
    expect(examples([{ body: "Once", text: "no" }], { text: "body" })).toMatchObject([{ kind: "text", text: "Once" }]);
  });
});
