/** A model and adapters by name that many callers ask at once: their texts grow together, token by token. */
import { basename, dirname, resolve } from "node:path";
import { existsSync } from "node:fs";
import { didYouMean, FedtuneError, must } from "../../core/base/errors.ts";
import type { NamedTensors } from "../../core/base/tensor.ts";
import { resolveModelFolder } from "../../core/store/hub.ts";
import { bindAdapter } from "../adapters/all.ts";
import type { AdapterSettings } from "../adapters/all.ts";
import { openArchitecture } from "../architectures/all.ts";
import { createChatTemplate, type ChatMessage, type ChatTemplate } from "../text/chat-template.ts";
import { createStopFilter } from "../text/stop-filter.ts";
import { createTextStream } from "../text/text-stream.ts";
import { tokenTextAfter, tokenTexts } from "../text/token-texts.ts";
import { loadTokenizer, requireTokenizerFits, type Tokenizer } from "../text/tokenizer.ts";
import { readNamedAdapter, sessionKey } from "./named-adapters.ts";
import { resolveDevice, resolveRuntime } from "./resolve-runtime.ts";
import type { SamplingOptions } from "./sampling.ts";
import { runtimeSchema, trainingSchema, type RuntimeSettings } from "./settings.ts";
import { NO_EXAMPLES } from "./setup.ts";
import { TextQueue } from "./text-queue.ts";
import { createTrainer } from "./trainer.ts";
import type { ScoredToken, Trainer } from "./types.ts";

export interface ServedModelOptions {
  /** Folder of a model, or its id on the Hub. */
  readonly model: string;
  readonly revision?: string;
  /** Adapter folders by the name that callers use. */
  readonly adapters: Readonly<Record<string, string>>;
  /** Most texts that grow together, for each group of like adapters. */
  readonly batchSize: number;
  /** Most texts that wait. */
  readonly queueSize: number;
  readonly runtime?: Partial<RuntimeSettings>;
}

/** A token as it is shown. */
export interface ShownToken {
  readonly text: string;
  /** Nats; null for a text's first token, which nothing predicts. */
  readonly logProbability: number | null;
  /** The likeliest at its place, the likeliest first. */
  readonly top: readonly { readonly text: string; readonly logProbability: number }[];
}

export interface ServedRequest {
  /** A name of `ServedModel.names`. */
  readonly model: string;
  readonly prompt: Int32Array;
  /** 0: the prompt is only scored. */
  readonly maxNewTokens: number;
  readonly sampling: SamplingOptions;
  /** With the seed: keys the random numbers. */
  readonly draw: number;
  readonly stop: readonly string[];
  readonly scorePrompt: boolean;
  /** Likeliest tokens wanted beside each token. */
  readonly top: number;
}

export interface ServedText {
  /** Without the prompt and the stop string. */
  readonly text: string;
  /** Every token written, an end token and those of the stop string included. */
  readonly tokens: readonly ShownToken[];
  /** Where wanted: the prompt's. */
  readonly prompt: readonly ShownToken[];
  /** An end token or a stop string, or the limit. */
  readonly endedBy: "stop" | "length";
}

export interface ServedListener {
  readonly signal: AbortSignal;
  /** Sees the tokens as they come, with what can be shown of their text. */
  readonly onPiece?: (text: string, tokens: readonly ShownToken[]) => void;
  /** Sees the prompt's tokens, before the first piece. */
  readonly onPrompt?: (tokens: readonly ShownToken[]) => void;
}

export interface ServedModel extends AsyncDisposable {
  /** The base first. */
  readonly names: readonly string[];
  /** Ids of tokens: 0 to one less. */
  readonly vocabSize: number;
  /** The name of `names` that is meant: also the base's path or Hub id. Throws FedtuneError("model") with the nearest. */
  find(name: string): string;
  /** Tokens that prompt and answer may have together. */
  contextTokens(name: string): number;
  /** Token ids of a text, with what the tokenizer puts before every text, and how many that are. */
  encode(text: string): { readonly ids: Int32Array; readonly added: number };
  decode(ids: Int32Array): string;
  /** Token ids of a conversation up to where the answer begins. Throws FedtuneError("model") without a chat template, ("data") for messages that it refuses. */
  encodeChat(messages: readonly ChatMessage[]): Int32Array;
  /** Throws FedtuneError("resources") where the queue has no room for so many texts. */
  requireRoom(name: string, texts: number): void;
  /** Throws FedtuneError("config") for a prompt that is empty or too long, ("interrupted") once the signal is aborted. */
  write(request: ServedRequest, listener: ServedListener): Promise<ServedText>;
}

/** The name of a model: a folder's own, or the Hub id. */
function nameOf(model: string): string {
  return existsSync(model) ? basename(resolve(model)) : model;
}

/** The name of an adapter's folder; of `run/adapter` the run's. */
export function adapterName(folder: string): string {
  const path = resolve(folder);
  return basename(path) === "adapter" ? basename(dirname(path)) : basename(path);
}

interface Served {
  /** Null: the base. */
  readonly adapter: string | null;
  readonly queue: TextQueue;
  readonly contextTokens: number;
}

class OpenServedModel implements ServedModel {
  readonly vocabSize: number;
  readonly #served: ReadonlyMap<string, Served>;
  readonly #aliases: ReadonlyMap<string, string>;
  readonly #tokenizer: Tokenizer;
  readonly #trainers: readonly Trainer[];
  #template: ChatTemplate | undefined;

  constructor(parts: { readonly served: ReadonlyMap<string, Served>; readonly aliases: ReadonlyMap<string, string>; readonly tokenizer: Tokenizer; readonly trainers: readonly Trainer[]; readonly vocabSize: number }) {
    this.#served = parts.served;
    this.#aliases = parts.aliases;
    this.#tokenizer = parts.tokenizer;
    this.#trainers = parts.trainers;
    this.vocabSize = parts.vocabSize;
  }

  get names(): readonly string[] {
    return [...this.#served.keys()];
  }

  find(name: string): string {
    const found = this.#aliases.get(name) ?? name;
    if (this.#served.has(found)) return found;
    throw new FedtuneError("model", { where: "model", expected: `one of ${this.names.join(", ")}`, got: `\`${name}\``, remedy: didYouMean(name, this.names) });
  }

  #find(name: string): Served {
    return must(this.#served.get(this.find(name)), name);
  }

  contextTokens(name: string): number {
    return this.#find(name).contextTokens;
  }

  encode(text: string): { readonly ids: Int32Array; readonly added: number } {
    const ids = this.#tokenizer.encode(text, { addSpecialTokens: true });
    const own = this.#tokenizer.encode(text, { addSpecialTokens: false });
    return { ids, added: ids[0] === this.#tokenizer.bosId && own[0] !== ids[0] ? 1 : 0 };
  }

  decode(ids: Int32Array): string {
    return tokenTexts(this.#tokenizer, ids).join("");
  }

  encodeChat(messages: readonly ChatMessage[]): Int32Array {
    this.#template ??= createChatTemplate(this.#tokenizer);
    return this.#tokenizer.encode(this.#template.render(messages, { addGenerationPrompt: true, where: "messages" }), { addSpecialTokens: false });
  }

  requireRoom(name: string, texts: number): void {
    this.#find(name).queue.requireRoom(texts);
  }

  async write(request: ServedRequest, { signal, onPiece, onPrompt }: ServedListener): Promise<ServedText> {
    const { model, prompt, maxNewTokens, sampling, draw, stop, scorePrompt, top } = request;
    const { queue, adapter, contextTokens } = this.#find(model);
    const tokenizer = this.#tokenizer;
    if (prompt.length === 0) throw new FedtuneError("config", { where: "prompt", expected: "at least one token", got: "an empty prompt", remedy: "Give some text" });
    if (prompt.length + maxNewTokens > contextTokens) {
      throw new FedtuneError("config", { where: "prompt", expected: `prompt and new tokens within the ${contextTokens} tokens of ${this.find(model)}'s context`, got: `${prompt.length} + ${maxNewTokens}`, remedy: "Shorten the prompt or lower max_tokens", details: { contextTokens } });
    }
    const ids = [...prompt];
    const stream = createTextStream(tokenizer, { prompt, skipSpecialTokens: true });
    const filter = createStopFilter(stop);
    const tokens: ShownToken[] = [];
    let promptTokens: readonly ShownToken[] = [];
    // The end of the text, long enough for a stop string to show in it.
    let [text, end] = ["", ""];
    const longestStop = Math.max(0, ...stop.map(({ length }) => length));
    let endedBy: ServedText["endedBy"] = "length";
    const show = (piece: string, added: readonly ShownToken[]): void => {
      text += piece;
      if (piece !== "" || added.length > 0) onPiece?.(piece, added);
    };
    if (maxNewTokens > 0 || scorePrompt) {
      await queue.grow({ prompt, adapter, sampling, draw, scorePrompt, top, once: maxNewTokens <= 1 }, {
        signal,
        onGrown: ({ next, prompt: scored }) => {
          if (scored !== undefined) {
            promptTokens = this.#promptTokens(prompt, scored);
            onPrompt?.(promptTokens);
          }
          if (maxNewTokens === 0) return false;
          const shown = this.#shown(ids, next, tokenTextAfter(tokenizer, ids, next.token));
          tokens.push(shown);
          ids.push(next.token);
          const ended = tokenizer.endIds.includes(next.token);
          const piece = ended ? "" : stream.push(next.token);
          end = `${end.slice(-longestStop)}${piece}`;
          show(filter.push(piece), [shown]);
          if (ended || stop.some((one) => end.includes(one))) endedBy = "stop";
          return endedBy !== "stop" && tokens.length < maxNewTokens;
        },
      });
    }
    const rest = filter.push(stream.finish());
    show(rest + filter.finish(), []);
    return { text, tokens, prompt: promptTokens, endedBy };
  }

  #shown(before: readonly number[], { token, logProbability, top }: ScoredToken, text: string): ShownToken {
    return { text, logProbability, top: top.map((one) => ({ text: one.token === token ? text : tokenTextAfter(this.#tokenizer, before, one.token), logProbability: one.logProbability })) };
  }

  #promptTokens(prompt: Int32Array, scored: readonly ScoredToken[]): readonly ShownToken[] {
    const ids = [...prompt];
    return tokenTexts(this.#tokenizer, prompt).map((text, i) => {
      const score = i === 0 ? undefined : scored[i - 1];
      return score === undefined ? { text, logProbability: null, top: [] } : this.#shown(ids.slice(Math.max(0, i - 8), i), score, text);
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#trainers.map((trainer) => trainer[Symbol.asyncDispose]()));
  }
}

/** Opens a model with adapters by name. Throws FedtuneError("model") for what does not fit together, ("config") for names that meet. */
export async function openServedModel(options: ServedModelOptions, signal?: AbortSignal): Promise<ServedModel> {
  const { model: name, revision, adapters, batchSize, queueSize, runtime = {} } = options;
  const folder = await resolveModelFolder(name, { ...(revision === undefined ? {} : { revision }), ...(signal === undefined ? {} : { signal }) });
  const model = await openArchitecture(folder);
  const tokenizer = loadTokenizer(folder);
  requireTokenizerFits(tokenizer, model.vocabSize);
  const base = nameOf(name);
  if (Object.hasOwn(adapters, base)) throw new FedtuneError("config", { where: "adapter", expected: "a name that is not the base's", got: `\`${base}\``, remedy: "Give another by name=folder" });
  const held = Object.entries(adapters).map(([own, path]) => {
    const adapter = readNamedAdapter(path, folder, model);
    const { virtualTokens, prefixTokens } = bindAdapter(adapter.settings, model);
    return { name: own, ...adapter, key: sessionKey(own, adapter), ownTokens: virtualTokens + prefixTokens };
  });
  const groups = [...Map.groupBy(held, ({ key }) => key).values()];
  const wanted = runtimeSchema.parse({ device: "cpu", ...runtime });
  const { device } = await resolveDevice(wanted);
  const resolved = await resolveRuntime(wanted, { hiddenSize: model.hiddenSize, clients: 1, stepTokens: 1, device, opened: { folder, model } });
  const trainers: Trainer[] = [];
  const open = async (settings: AdapterSettings | undefined, tensors: ReadonlyMap<string, NamedTensors<"float32">>): Promise<TextQueue> => {
    const trainer = await createTrainer({ modelFolder: folder, ...(settings === undefined ? {} : { adapter: settings }), inferenceOnly: true, training: trainingSchema.parse({}), runtime: resolved, data: NO_EXAMPLES, packTokens: 1, seed: 0 });
    trainers.push(trainer);
    return new TextQueue(trainer, { batchSize, queueSize, adapters: tensors });
  };
  try {
    const served = new Map<string, Served>();
    // The base is asked where the first adapters are: one trainer less.
    const queues = await Promise.all((groups.length === 0 ? [[]] : groups).map((group) => open(group[0]?.settings, new Map(group.map((one) => [one.name, one.parameters])))));
    served.set(base, { adapter: null, queue: must(queues[0], "queue"), contextTokens: model.maxPositions });
    groups.forEach((group, i) => {
      for (const one of group) served.set(one.name, { adapter: one.name, queue: must(queues[i], "queue"), contextTokens: model.maxPositions - one.ownTokens });
    });
    return new OpenServedModel({ served, aliases: new Map([[name, base]]), tokenizer, trainers, vocabSize: model.vocabSize });
  } catch (error) {
    await Promise.all(trainers.map((trainer) => trainer[Symbol.asyncDispose]()));
    throw error;
  }
}
