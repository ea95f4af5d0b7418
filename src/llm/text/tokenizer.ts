/**
 * Text to token ids and back, by @huggingface/tokenizers: the one file that knows that library, whose types are lost under
 * nodenext. What the files of a model folder say is read by tokenizer-files.ts.
 */
import { Tokenizer as LibraryTokenizer } from "@huggingface/tokenizers";
import { FedtuneError, messageOf } from "../../core/base/errors.ts";
import { canonicalJson, sha256 } from "../../core/base/hash.ts";
import { readTokenizerFiles, type SpecialTokenName, type TokenizerFiles } from "./tokenizer-files.ts";

/** The tokenizer of one model. */
export interface Tokenizer {
  /** Token ids of a text; `addSpecialTokens` puts around it what the model's tokenizer does by default (a bos, say). */
  encode(text: string, options: { readonly addSpecialTokens: boolean }): Int32Array;
  /** The text of token ids; ids that no token has are left out. */
  decode(ids: ArrayLike<number>, options: { readonly skipSpecialTokens: boolean }): string;
  /** Id that a text begins with; absent where the model has none. */
  readonly bosId?: number;
  /** Id that ends a text: what training appends. */
  readonly eosId: number;
  readonly padId?: number;
  /** All ids that end a generated text: `eosId` first, then others that generation_config.json names. */
  readonly endIds: readonly number[];
  /** Highest id + 1. */
  readonly vocabularySize: number;
  /** Whether the tokenizer by default puts the bos first. */
  readonly addsBos: boolean;
  /** Jinja source of the chat template and the file it stands in; absent where the model has none. */
  readonly chatTemplate?: { readonly source: string; readonly file: string };
  /** The text of one token, e.g. `<s>`; undefined for an id that no token has. */
  tokenText(id: number): string | undefined;
  /** SHA-256 of everything that decides which ids come out. */
  readonly identity: string;
  /** Path of tokenizer.json, for messages. */
  readonly path: string;
}

/** The part of the library that is used, with the types that its own declarations lose. */
interface RawTokenizer {
  encode(text: string, options: { add_special_tokens: boolean }): { readonly ids: readonly (number | undefined)[] };
  decode(ids: number[], options: { skip_special_tokens: boolean; clean_up_tokenization_spaces: boolean }): string;
  token_to_id(token: string): number | undefined;
  id_to_token(id: number): string | undefined;
  get_vocab(withAddedTokens: boolean): Map<string, number>;
  readonly model?: { cache?: WordCache };
}

/** How a byte-pair model of the library remembers the tokens of words. */
interface WordCache {
  get(word: string): readonly string[] | undefined;
  put(word: string, tokens: readonly string[]): void;
  clear(): void;
}

/** Words remembered before all are forgotten: a few tens of megabytes. */
const REMEMBERED_WORDS = 200_000;

/** The library's own cache holds 10,000 words and reorders them at each look; this one nearly doubles the rate on English text. */
function createWordCache(): WordCache {
  const words = new Map<string, readonly string[]>();
  return {
    get: (word) => words.get(word),
    put(word, tokens) {
      if (words.size >= REMEMBERED_WORDS) words.clear();
      words.set(word, tokens);
    },
    clear: () => words.clear(),
  };
}

function createRaw(files: TokenizerFiles): RawTokenizer {
  // The library asks for these keys to be present; older files leave out those that are null.
  const json = { normalizer: null, pre_tokenizer: null, post_processor: null, decoder: null, added_tokens: [], ...files.tokenizerJson };
  try {
    // Its declarations import without file endings, so under nodenext the class is `any`; the interface above states what it does.
    const raw = new LibraryTokenizer(json, files.tokenizerConfig) as RawTokenizer;
    if (raw.model?.cache !== undefined) raw.model.cache = createWordCache();
    return raw;
  } catch (cause) {
    throw new FedtuneError("model", { where: files.path, expected: "a tokenizer that @huggingface/tokenizers can read", got: messageOf(cause), cause });
  }
}

/** A named token's id: by its text where a file gives one, else by the id in the model's config; undefined where there is none. */
function resolveId(raw: RawTokenizer, files: TokenizerFiles, name: SpecialTokenName): number | undefined {
  const text = files.specialTokens[name];
  if (text === null) return undefined;
  if (text === undefined) return files.specialIds[name][0];
  const id = raw.token_to_id(text);
  if (id === undefined) {
    throw new FedtuneError("model", { where: files.path, expected: `a token \`${text}\`, which the tokenizer's config names as ${name}`, got: "no such token" });
  }
  return id;
}

function countVocabulary(raw: RawTokenizer): number {
  let highest = -1;
  for (const id of raw.get_vocab(true).values()) highest = Math.max(highest, id);
  return highest + 1;
}

/**
 * Loads the tokenizer of a model folder (tokenizer.json and the configs beside it).
 * Throws FedtuneError "model" where a file is missing or malformed, or no end token can be found.
 */
export function loadTokenizer(modelFolder: string): Tokenizer {
  const files = readTokenizerFiles(modelFolder);
  const raw = createRaw(files);
  const bosId = resolveId(raw, files, "bos_token");
  const eosId = resolveId(raw, files, "eos_token") ?? files.specialIds.eos_token[0];
  const padId = resolveId(raw, files, "pad_token");
  if (eosId === undefined) {
    throw new FedtuneError("model", { where: files.path, expected: "an end token (eos_token in tokenizer_config.json or eos_token_id in config.json)", got: "neither", remedy: "Add eos_token to tokenizer_config.json" });
  }

  const encodeRaw = (text: string, addSpecialTokens: boolean): Int32Array => {
    const { ids } = raw.encode(text, { add_special_tokens: addSpecialTokens });
    return Int32Array.from(ids, (id, at) => {
      if (id !== undefined) return id;
      throw new FedtuneError("model", { where: files.path, expected: "a token for every character", got: `none at token ${at} of ${JSON.stringify(text.slice(0, 60))}`, remedy: "The tokenizer needs an unk_token or byte fallback" });
    });
  };
  // Python's fast tokenizers rewrite their post-processor to follow add_bos_token; the library does not, so it is done here.
  const processorAddsBos = bosId !== undefined && encodeRaw("", true)[0] === bosId;
  const addsBos = bosId !== undefined && (files.tokenizerConfig.add_bos_token ?? processorAddsBos);
  const cleanUp = files.tokenizerConfig.clean_up_tokenization_spaces ?? false;

  return {
    encode(text, { addSpecialTokens }) {
      const ids = encodeRaw(text, addSpecialTokens);
      if (!addSpecialTokens || bosId === undefined || addsBos === processorAddsBos) return ids;
      return addsBos ? Int32Array.of(bosId, ...ids) : ids.slice(1);
    },
    decode(ids, { skipSpecialTokens }) {
      const known = Array.from(ids).filter((id) => raw.id_to_token(id) !== undefined);
      return known.length === 0 ? "" : raw.decode(known, { skip_special_tokens: skipSpecialTokens, clean_up_tokenization_spaces: cleanUp });
    },
    tokenText: (id) => raw.id_to_token(id),
    ...(bosId === undefined ? {} : { bosId }),
    eosId,
    ...(padId === undefined ? {} : { padId }),
    endIds: [...new Set([eosId, ...files.specialIds.eos_token])],
    vocabularySize: countVocabulary(raw),
    addsBos,
    ...(files.chatTemplate === undefined ? {} : { chatTemplate: files.chatTemplate }),
    identity: sha256(files.tokenizerBytes, canonicalJson([files.tokenizerConfig, files.specialTokens, files.specialIds])),
    path: files.path,
  };
}

/** Refuses (FedtuneError "model") a tokenizer with ids that a model of `modelVocabularySize` embeddings does not have. */
export function requireTokenizerFits(tokenizer: Pick<Tokenizer, "vocabularySize" | "path" | "bosId" | "eosId" | "padId">, modelVocabularySize: number): void {
  const highest = Math.max(tokenizer.vocabularySize - 1, tokenizer.bosId ?? 0, tokenizer.eosId, tokenizer.padId ?? 0);
  if (highest < modelVocabularySize) return;
  throw new FedtuneError("model", {
    where: tokenizer.path,
    expected: `token ids below the model's vocab_size ${modelVocabularySize}`,
    got: `ids up to ${highest}`,
    remedy: "Use the tokenizer that belongs to this model",
    details: { highestId: highest, vocabSize: modelVocabularySize },
  });
}
