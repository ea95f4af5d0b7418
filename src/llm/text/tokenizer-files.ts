/**
 * Reads what a model folder says about its tokenizer: the files, the special tokens, the chat template.
 * Turning text into ids is left to tokenizer.ts.
 */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { FedtuneError, messageOf } from "../../core/base/errors.ts";

const tokenText = z.union([z.string(), z.looseObject({ content: z.string() }).transform((t) => t.content)]).nullish();
const namedTemplates = z.array(z.looseObject({ name: z.string(), template: z.string() }));
const idOrIds = z.union([z.int(), z.array(z.int()).min(1)]).nullish();

const tokenizerConfigSchema = z.looseObject({
  bos_token: tokenText,
  eos_token: tokenText,
  pad_token: tokenText,
  add_bos_token: z.boolean().nullish(),
  clean_up_tokenization_spaces: z.boolean().nullish(),
  chat_template: z.union([z.string(), namedTemplates]).nullish(),
});
const specialTokensMapSchema = z.looseObject({ bos_token: tokenText, eos_token: tokenText, pad_token: tokenText });
const modelConfigSchema = z.looseObject({ bos_token_id: idOrIds, eos_token_id: idOrIds, pad_token_id: idOrIds });

/** Names of the special tokens whose text a folder may state. */
export type SpecialTokenName = "bos_token" | "eos_token" | "pad_token";

/** What the files of a model folder say, unresolved. */
export interface TokenizerFiles {
  /** Path of tokenizer.json, for messages. */
  readonly path: string;
  readonly tokenizerBytes: Uint8Array;
  /** tokenizer.json and tokenizer_config.json, parsed; the latter is {} where the file is absent. */
  readonly tokenizerJson: object;
  readonly tokenizerConfig: z.infer<typeof tokenizerConfigSchema>;
  /** Texts of special tokens: undefined where no file names the token, null where a file says that there is none. */
  readonly specialTokens: Readonly<Record<SpecialTokenName, string | null | undefined>>;
  /** Ids that generation_config.json, else config.json, gives; empty where neither does. */
  readonly specialIds: Readonly<Record<SpecialTokenName, readonly number[]>>;
  /** Jinja source of the chat template and the file it stands in. */
  readonly chatTemplate: { readonly source: string; readonly file: string } | undefined;
}

function parseJson<T>(path: string, bytes: Uint8Array, schema: z.ZodType<T>): T {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (cause) {
    throw new FedtuneError("model", { where: path, expected: "JSON", got: messageOf(cause), remedy: "Fetch the file again", cause });
  }
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  throw new FedtuneError("model", { where: path, expected: "the fields of a Hugging Face tokenizer or model", got: z.prettifyError(parsed.error).replaceAll("\n", " ") });
}

function readOptional<T>(path: string, schema: z.ZodType<T>): T {
  return existsSync(path) ? parseJson(path, readFileSync(path), schema) : schema.parse({});
}

function idsOf(value: number | readonly number[] | null | undefined): readonly number[] {
  return typeof value === "number" ? [value] : (value ?? []);
}

/** chat_template.jinja wins over tokenizer_config.json, as in transformers; of several named templates, "default". */
function findChatTemplate(folder: string, inConfig: z.infer<typeof tokenizerConfigSchema>["chat_template"]): TokenizerFiles["chatTemplate"] {
  const file = join(folder, "chat_template.jinja");
  if (existsSync(file)) return { source: readFileSync(file, "utf8"), file };
  const configFile = join(folder, "tokenizer_config.json");
  if (typeof inConfig === "string") return { source: inConfig, file: configFile };
  const named = inConfig?.find((t) => t.name === "default") ?? inConfig?.[0];
  return named === undefined ? undefined : { source: named.template, file: configFile };
}

/**
 * Reads tokenizer.json, tokenizer_config.json, special_tokens_map.json, generation_config.json and config.json of a folder.
 * Only the first must be there. Throws FedtuneError "model" for one that is missing or malformed.
 */
export function readTokenizerFiles(folder: string): TokenizerFiles {
  const path = join(folder, "tokenizer.json");
  if (!existsSync(path)) {
    throw new FedtuneError("model", { where: folder, expected: "a model folder with tokenizer.json", got: "no such file", remedy: "Point to a folder in the Hugging Face layout" });
  }
  const tokenizerBytes = readFileSync(path);
  const tokenizerJson = parseJson(path, tokenizerBytes, z.looseObject({ model: z.looseObject({}) }));
  const tokenizerConfig = readOptional(join(folder, "tokenizer_config.json"), tokenizerConfigSchema);
  const map = readOptional(join(folder, "special_tokens_map.json"), specialTokensMapSchema);
  const generation = readOptional(join(folder, "generation_config.json"), modelConfigSchema);
  const model = readOptional(join(folder, "config.json"), modelConfigSchema);

  const text = (name: SpecialTokenName): string | null | undefined => (tokenizerConfig[name] === undefined ? map[name] : tokenizerConfig[name]);
  const ids = (name: "bos_token_id" | "eos_token_id" | "pad_token_id"): readonly number[] => idsOf(generation[name] ?? model[name]);
  return {
    path,
    tokenizerBytes,
    tokenizerJson,
    tokenizerConfig,
    specialTokens: { bos_token: text("bos_token"), eos_token: text("eos_token"), pad_token: text("pad_token") },
    specialIds: { bos_token: ids("bos_token_id"), eos_token: ids("eos_token_id"), pad_token: ids("pad_token_id") },
    chatTemplate: findChatTemplate(folder, tokenizerConfig.chat_template),
  };
}
