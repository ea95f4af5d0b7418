/** The model's own chat template; an instruction becomes one user turn and its answer the assistant's. */
import { FedtuneError } from "../../../core/base/errors.ts";
import type { ChatMessage, ChatTemplate } from "../../text/chat-template.ts";
import { splitConversation } from "../../text/conversation.ts";
import { placeOf, type Example } from "../examples.ts";
import { sha256 } from "../../../core/base/hash.ts";
import type { PromptTemplate, TemplateContext } from "./template.ts";

function toMessages(example: Example): readonly ChatMessage[] {
  switch (example.kind) {
    case "conversation":
      return example.messages;
    case "instruction":
      return [
        { role: "user", content: example.input === undefined ? example.instruction : `${example.instruction}\n\n${example.input}` },
        { role: "assistant", content: example.output },
      ];
    case "text":
      throw new FedtuneError("data", { where: placeOf(example), expected: "conversations or instructions for the template chat", got: "plain text", remedy: "Set data.template to plain" });
    default:
      return example satisfies never;
  }
}

/** Texts of the tokens that end a turn, the model's eos first. */
export function endTokenTexts({ tokenizer }: TemplateContext): readonly string[] {
  return tokenizer.endIds.map((id) => tokenizer.tokenText(id) ?? "").filter((text) => text !== "");
}

/** The template `chat` over a chat template, the model's or one of the user's. */
export function createChat(template: ChatTemplate, context: TemplateContext): PromptTemplate {
  const { system } = context;
  const endTokens = endTokenTexts(context);
  return {
    identity: `chat:${sha256(template.source)}:${JSON.stringify(system ?? null)}`,
    bos: "as-tokenizer",
    render(example) {
      const messages = toMessages(example);
      const whole = system === undefined || messages[0]?.role === "system" ? messages : [{ role: "system", content: system }, ...messages];
      const { pieces, endsOpen } = splitConversation(whole, { template, endTokens, where: placeOf(example) });
      return { pieces, appendEos: endsOpen };
    },
  };
}
