/**
 * Renders messages with a model's chat template, by @huggingface/jinja.
 * Which parts of the rendered text are learnt is left to conversation.ts.
 */
import { Template } from "@huggingface/jinja";
import { FedtuneError, messageOf } from "../../core/base/errors.ts";
import type { Tokenizer } from "./tokenizer.ts";

/** One turn of a conversation. */
export interface ChatMessage {
  /** "system", "user", "assistant", or another that the model's template knows ("tool"). */
  readonly role: string;
  readonly content: string;
}

/** A chat template, ready to render. */
export interface ChatTemplate {
  /** Jinja source, for cache keys. */
  readonly source: string;
  /** File that the source stands in, for messages. */
  readonly file: string;
  /**
   * The text of the messages; `addGenerationPrompt` ends it where the assistant's answer begins.
   * Throws FedtuneError "data", naming `where` (a row, say), where the template refuses the messages.
   */
  render(messages: readonly ChatMessage[], options: { readonly addGenerationPrompt: boolean; readonly where?: string }): string;
}

/**
 * The date that templates see through `strftime_now`: a fixed one (the default in Llama's own templates), because training
 * text must not change with the day it is made on. The library declares its own and lets nobody redeclare it, so templates
 * are made to call this one by another name.
 */
const DATE_FUNCTION = "fixed_strftime_now";
const FIXED_DATE: Readonly<Record<string, string>> = {
  Y: "2024", y: "24", m: "07", d: "26", e: "26", B: "July", b: "Jul", A: "Friday", a: "Fri", H: "00", I: "12", M: "00", S: "00", p: "AM", j: "208", "%": "%",
};

function formatFixedDate(format: string): string {
  return format.replaceAll(/%-?(.)/g, (whole, letter: string) => FIXED_DATE[letter] ?? whole);
}

/** A parsed Jinja source; `render` gives the text for the variables. */
export interface JinjaTemplate {
  render(variables: Readonly<Record<string, unknown>>): string;
}

/** Parses a Jinja source. Throws FedtuneError "model" with the file where it does not parse. */
export function parseJinja(source: string, file: string): JinjaTemplate {
  try {
    const template = new Template(source.replaceAll(/\bstrftime_now\b/g, DATE_FUNCTION));
    return { render: (variables) => template.render({ ...variables, [DATE_FUNCTION]: formatFixedDate }) };
  } catch (cause) {
    throw new FedtuneError("model", { where: file, expected: "a Jinja template that @huggingface/jinja can parse", got: messageOf(cause), cause });
  }
}

/**
 * The chat template of a model.
 * Throws FedtuneError "model" where the model has none or it does not parse.
 */
export function createChatTemplate(tokenizer: Tokenizer): ChatTemplate {
  const found = tokenizer.chatTemplate;
  if (found === undefined) {
    throw new FedtuneError("model", {
      where: tokenizer.path,
      expected: "a chat template (chat_template in tokenizer_config.json, or chat_template.jinja)",
      got: "neither",
      remedy: "Use the template `alpaca` or `plain`, or a chat model",
    });
  }
  const template = parseJinja(found.source, found.file);
  const tokens = {
    bos_token: tokenizer.bosId === undefined ? "" : (tokenizer.tokenText(tokenizer.bosId) ?? ""),
    eos_token: tokenizer.tokenText(tokenizer.eosId) ?? "",
  };
  return {
    source: found.source,
    file: found.file,
    render(messages, { addGenerationPrompt, where }) {
      try {
        return template.render({ messages: messages.map((m) => ({ ...m })), add_generation_prompt: addGenerationPrompt, ...tokens });
      } catch (cause) {
        throw new FedtuneError("data", {
          where: where ?? found.file,
          expected: `messages that the chat template in ${found.file} accepts`,
          got: `roles ${messages.map((m) => m.role).join(", ") || "(none)"}: ${messageOf(cause)}`,
          cause,
        });
      }
    },
  };
}
