/** Reads a conversation from a row: {role, content} as most write it, or {from, value} in ShareGPT's form. */
import { didYouMean, FedtuneError } from "../../core/base/errors.ts";
import type { ChatMessage } from "../text/chat-template.ts";
import { describeValue, isRow } from "./records.ts";

/** The role that each name means; ShareGPT's names are those of its time. */
const ROLES: Readonly<Record<string, string>> = {
  system: "system", user: "user", assistant: "assistant", tool: "tool",
  human: "user", gpt: "assistant", chatgpt: "assistant", model: "assistant", bot: "assistant",
  function: "tool", observation: "tool",
};

/** The text of a message: a string, or a list of parts {type: "text", text}. */
function readContent(value: unknown, where: string): string {
  if (typeof value === "string") return value;
  if (Array.isArray(value)) {
    return value
      .map((part: unknown) => {
        if (isRow(part) && typeof part["text"] === "string") return part["text"];
        throw new FedtuneError("data", { where, expected: "parts with `text`", got: describeValue(part), remedy: "Only text can be trained on" });
      })
      .join("");
  }
  throw new FedtuneError("data", { where, expected: "text as content", got: describeValue(value) });
}

function readMessage(value: unknown, where: string): ChatMessage {
  if (!isRow(value)) throw new FedtuneError("data", { where, expected: "an object {role, content}", got: describeValue(value) });
  const name = value["role"] ?? value["from"];
  const content = value["content"] ?? value["value"];
  if (typeof name !== "string" || content === undefined) {
    throw new FedtuneError("data", { where, expected: "{role, content} or {from, value}", got: `fields ${Object.keys(value).join(", ") || "(none)"}` });
  }
  const role = Object.hasOwn(ROLES, name) ? ROLES[name] : undefined;
  if (role === undefined) {
    throw new FedtuneError("data", { where, expected: `a role among ${Object.keys(ROLES).join(", ")}`, got: `\`${name}\``, remedy: didYouMean(name, Object.keys(ROLES)) || "Rename the role" });
  }
  return { role, content: readContent(content, where) };
}

/**
 * The messages of one row. `where` names row and field in errors.
 * Throws FedtuneError "data" for anything that is not a list of messages with a user's and then an assistant's.
 */
export function readConversation(value: unknown, where: string): readonly ChatMessage[] {
  if (!Array.isArray(value)) throw new FedtuneError("data", { where, expected: "a list of messages", got: describeValue(value) });
  const messages = value.map((message: unknown, i) => readMessage(message, `${where}, message ${i + 1}`));
  const said = messages.filter((message) => message.role !== "system");
  if (said[0]?.role === "assistant" || !said.some((message) => message.role === "assistant")) {
    throw new FedtuneError("data", { where, expected: "a user's message and then an assistant's", got: `roles ${messages.map((m) => m.role).join(", ") || "(none)"}`, remedy: "Mend or remove the row" });
  }
  return messages;
}
