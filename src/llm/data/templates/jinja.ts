/**
 * A Jinja file of the user's own. With instructions it sees `instruction`, `input`, `output`, `system` and `fields` (all of the
 * row's); what follows from the place of `output` on is learnt. With conversations it is used as a chat template.
 */
import { FedtuneError, messageOf } from "../../../core/base/errors.ts";
import { sha256 } from "../../../core/base/hash.ts";
import { createChatTemplate, parseJinja } from "../../text/chat-template.ts";
import { placeOf, type InstructionExample } from "../examples.ts";
import { createChat, endTokenTexts } from "./chat.ts";
import type { PromptTemplate, Rendered, TemplateContext } from "./template.ts";

/** Stands in for the output to find its place; private-use characters, so that no trimming or escaping touches it. */
const MARKER = "\ue000output\ue001";

function firstMarker(text: string, file: string): readonly [before: string, after: string] {
  const at = text.indexOf(MARKER);
  if (at >= 0 && text.indexOf(MARKER, at + 1) < 0) return [text.slice(0, at), text.slice(at + MARKER.length)];
  throw new FedtuneError("config", { where: file, expected: "a template that writes {{ output }} once", got: at < 0 ? "one that never does" : "one that does so several times" });
}

/** A template from Jinja source. Throws FedtuneError "model" where it does not parse, "config" without a place for the output. */
export function createJinja(source: string, file: string, context: TemplateContext): PromptTemplate {
  const template = parseJinja(source, file);
  const { tokenizer } = context;
  const endTokens = endTokenTexts(context);
  const tokens = {
    bos_token: tokenizer.bosId === undefined ? "" : (tokenizer.tokenText(tokenizer.bosId) ?? ""),
    eos_token: endTokens[0] ?? "",
  };
  const chat = createChat(createChatTemplate({ ...tokenizer, chatTemplate: { source, file } }), context);

  const renderWith = (example: InstructionExample, output: string): string => {
    try {
      const { instruction, input = "" } = example;
      return template.render({ fields: example.fields, instruction, input, output, system: context.system ?? "", ...tokens });
    } catch (cause) {
      throw new FedtuneError("data", { where: placeOf(example), expected: "a row that the template can render", got: messageOf(cause), cause });
    }
  };
  const renderInstruction = (example: InstructionExample): Rendered => {
    const [before, after] = firstMarker(renderWith(example, MARKER), file);
    const whole = renderWith(example, example.output);
    if (!whole.startsWith(before) || !whole.endsWith(after)) {
      throw new FedtuneError("config", { where: file, expected: "a prompt that does not depend on the output", got: "one that does" });
    }
    const answer = whole.slice(before.length);
    return {
      pieces: [{ text: before, learn: false }, { text: answer, learn: true }],
      appendEos: !endTokens.some((token) => answer.endsWith(token)),
    };
  };
  return {
    identity: `jinja:${sha256(source)}:${JSON.stringify(context.system ?? null)}`,
    bos: "always",
    render(example) {
      switch (example.kind) {
        case "conversation":
          return chat.render(example);
        case "instruction":
          return renderInstruction(example);
        case "text":
          throw new FedtuneError("data", { where: placeOf(example), expected: "rows with an instruction or a conversation", got: "plain text", remedy: "Set data.template to plain" });
        default:
          return example satisfies never;
      }
    },
  };
}
