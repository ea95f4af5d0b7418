/** The template that the config names. */
import { readFile } from "node:fs/promises";
import { resolve } from "node:path";
import { FedtuneError, messageOf } from "../../../core/base/errors.ts";
import { createChatTemplate } from "../../text/chat-template.ts";
import { TEMPLATE_FILE, type DataSettings } from "../settings.ts";
import { alpaca } from "./alpaca.ts";
import { createChat } from "./chat.ts";
import { createJinja } from "./jinja.ts";
import { loadOwnTemplate } from "./own.ts";
import { plain } from "./plain.ts";
import type { PromptTemplate, TemplateContext } from "./template.ts";

const BUILT_IN: Readonly<Record<string, (context: TemplateContext) => PromptTemplate>> = {
  alpaca: () => alpaca,
  plain: () => plain,
  chat: (context) => createChat(createChatTemplate(context.tokenizer), context),
};

/**
 * Loads `settings.template`: alpaca, chat, plain, or a file relative to `baseFolder`.
 * Throws FedtuneError "config" for a file that cannot be read, "model" where the model has no chat template.
 */
export async function loadTemplate(
  settings: Pick<DataSettings, "template" | "system">,
  options: { readonly tokenizer: TemplateContext["tokenizer"]; readonly baseFolder: string },
): Promise<PromptTemplate> {
  const name = settings.template;
  const context: TemplateContext = { tokenizer: options.tokenizer, ...(settings.system === undefined ? {} : { system: settings.system }) };
  const builtIn = Object.hasOwn(BUILT_IN, name) ? BUILT_IN[name] : undefined;
  if (builtIn !== undefined) return builtIn(context);
  const ending = TEMPLATE_FILE.exec(name)?.[1];
  if (ending === undefined) throw new FedtuneError("config", { where: "data.template", expected: "alpaca, chat, plain, or the path of a .jinja, .ts or .js file", got: `\`${name}\`` });
  if (!ending.startsWith("j") || ending === "js") return loadOwnTemplate(name, options.baseFolder);
  const source = await readFile(resolve(options.baseFolder, name), "utf8").catch((cause: unknown) => {
    throw new FedtuneError("config", { where: name, expected: "a Jinja file that can be read", got: messageOf(cause), remedy: "Paths are relative to the config file", cause });
  });
  return createJinja(source, name, context);
}
