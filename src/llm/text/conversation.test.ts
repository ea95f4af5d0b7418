import { describe, expect, it } from "vitest";
import { createChatTemplate, type ChatMessage, type ChatTemplate } from "./chat-template.ts";
import { splitConversation } from "./conversation.ts";
import { loadTokenizer } from "./tokenizer.ts";

const stories = loadTokenizer("assets/stories260k");

/** The chat template of a model whose end token is `</s>`. */
function templateOf(source: string): ChatTemplate {
  return createChatTemplate({ ...stories, chatTemplate: { source, file: "chat.jinja" } });
}

const CHATML = "{% for m in messages %}<|{{ m.role }}|>\n{{ m.content }}</s>\n{% endfor %}{% if add_generation_prompt %}<|assistant|>\n{% endif %}";
const TWO_TURNS: readonly ChatMessage[] = [
  { role: "user", content: "One?" },
  { role: "assistant", content: "First." },
  { role: "user", content: "Two?" },
  { role: "assistant", content: "Second." },
];

function learnt(source: string, messages: readonly ChatMessage[], endTokens: readonly string[] = ["</s>"]): readonly string[] {
  return splitConversation(messages, { template: templateOf(source), endTokens }).pieces.filter((piece) => piece.learn).map((piece) => piece.text);
}

describe("a conversation", () => {
  it("is learnt where the assistant speaks, with each turn's end token and not the line break after it", () => {
    const { pieces, endsOpen } = splitConversation(TWO_TURNS, { template: templateOf(CHATML), endTokens: ["</s>"] });
    expect(pieces).toEqual([
      { text: "<|user|>\nOne?</s>\n<|assistant|>\n", learn: false },
      { text: "First.</s>", learn: true },
      { text: "\n<|user|>\nTwo?</s>\n<|assistant|>\n", learn: false },
      { text: "Second.</s>", learn: true },
      { text: "\n", learn: false },
    ]);
    expect(endsOpen).toBe(false);
  });

  it("is learnt in the right place where the template trims what is said", () => {
    const messages = TWO_TURNS.map((m) => ({ role: m.role, content: `  ${m.content}\n` }));
    expect(learnt(CHATML.replace("m.content", "m.content | trim"), messages)).toEqual(["First.</s>", "Second.</s>"]);
  });

  it("is learnt in the right place where the template drops earlier turns' thoughts", () => {
    const source = CHATML.replace("{{ m.content }}", "{% if loop.last or '</think>' not in m.content %}{{ m.content }}{% else %}{{ m.content.split('</think>')[-1] }}{% endif %}");
    const messages = TWO_TURNS.map((m) => (m.role === "assistant" ? { ...m, content: `<think>hm</think>${m.content}` } : m));
    expect(learnt(source, messages)).toEqual(["First.</s>", "<think>hm</think>Second.</s>"]);
  });

  it("is learnt in the right place where only the last turn gets an empty thought", () => {
    const source = CHATML.replace("{{ m.content }}", "{% if loop.last and m.role == 'assistant' %}<think></think>{% endif %}{{ m.content }}");
    expect(learnt(source, TWO_TURNS)).toEqual(["First.</s>", "<think></think>Second.</s>"]);
  });

  it("ends open where the template ends the last answer with no end token", () => {
    const source = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}";
    const split = splitConversation(TWO_TURNS, { template: templateOf(source), endTokens: ["</s>"] });
    expect(split.endsOpen).toBe(true);
    expect(split.pieces.filter((piece) => piece.learn).map((piece) => piece.text)).toEqual(["First.", "Second."]);
    expect(split.pieces.at(-1)).toEqual({ text: "Second.", learn: true });
  });

  it("takes any of several end tokens", () => {
    expect(learnt(CHATML.replace("</s>", "<end>"), TWO_TURNS, ["</s>", "<end>"])).toEqual(["First.<end>", "Second.<end>"]);
  });

  it("is refused where earlier turns are rewritten in a way that hides the boundary", () => {
    const shout = CHATML.replace("{{ m.content }}", "{% if loop.last or m.role == 'user' %}{{ m.content }}{% else %}{{ m.content | upper }}{% endif %}");
    expect(() => learnt(shout, TWO_TURNS)).toThrow(/message 2, written by chat.jinja: expected a chat template whose text of the first messages stays the same .* got an answer that is written differently/);
    const numbered = `{{ messages | length }}${CHATML}`;
    expect(() => learnt(numbered, TWO_TURNS)).toThrow(/written differently once it follows/);
  });

  it("is refused where nobody answers or the answer comes first", () => {
    expect(() => learnt(CHATML, TWO_TURNS.slice(0, 1))).toThrow(/expected a user's message and then an assistant's, got roles user/);
    expect(() => learnt(CHATML, TWO_TURNS.slice(1))).toThrow(/got roles assistant, user, assistant/);
  });
});

describe("a chat template", () => {
  it("sees the special tokens and a date that never changes", () => {
    const template = templateOf("{{ bos_token }}{{ eos_token }}{{ strftime_now('%d %b %Y') }}");
    expect(template.render([], { addGenerationPrompt: false })).toBe("<s></s>26 Jul 2024");
  });

  it("is refused by name where the model has none or it does not parse", () => {
    expect(() => createChatTemplate(stories)).toThrow(/expected a chat template .* got neither/);
    expect(() => templateOf("{% for %}")).toThrow(/chat.jinja: expected a Jinja template/);
  });

  it("passes on why it refuses messages, with the row", () => {
    const template = templateOf("{{ raise_exception('roles must alternate') }}");
    expect(() => template.render([{ role: "user", content: "Hi" }], { addGenerationPrompt: false, where: "chats.jsonl:3" })).toThrow(/chats.jsonl:3: expected .* got roles user: roles must alternate/);
  });
});
