/**
 * Texts that grow side by side, one token a step: new ones join and finished ones leave between any two steps, so that
 * nobody waits for a batch to end. The caller decides when a text is done.
 */
import { interrupted, must } from "../../core/base/errors.ts";
import { tensor } from "../../core/base/tensor.ts";
import type { NamedTensors, Tensor } from "../../core/base/tensor.ts";
import type { ArchitectureModel } from "../architectures/architecture.ts";
import { DecodeCache } from "./decode-cache.ts";
import { adaptedBy } from "./generate-by-adapter.ts";
import { startCache, type GenerationContext } from "./generation.ts";
import { HIDDEN_POSITION } from "./graphs.ts";
import type { OpenedAdapter } from "./opened-adapter.ts";
import { sampleToken } from "./sampling.ts";
import type { SessionPool } from "./session-pool.ts";
import { scoreToken } from "./token-scores.ts";
import type { GrowJob, GrownText, ScoredToken, TextToGrow } from "./types.ts";

export interface GrowingContext {
  readonly model: ArchitectureModel;
  readonly opened: OpenedAdapter | undefined;
  readonly sessions: SessionPool;
  /** Tokens of prompts that one pass reads. */
  readonly tokensPerPass: number;
  readonly aborted: () => boolean;
}

/** Bytes of logits that may exist at once. */
const LOGITS_BYTES = 64 << 20;

/** A text that has its first token. */
interface Growing {
  readonly text: TextToGrow;
  /** Its last token, which no pass has read yet, and that token's position. */
  last: number;
  position: number;
  /** Tokens that it has beyond its prompt. */
  written: number;
}

/** How rows lie in a pass: [clients, rows of each], under what. */
interface Arrangement {
  readonly clients: number;
  readonly rowsEach: number;
  readonly adapted: GenerationContext["adapted"];
}

/** Prompts cut into passes of at most `limit` tokens, padding included; one that is longer stays alone. */
function passesOf(texts: readonly TextToGrow[], limit: number): readonly (readonly TextToGrow[])[] {
  const passes: TextToGrow[][] = [];
  for (const text of [...texts].sort((a, b) => a.prompt.length - b.prompt.length || a.id - b.id)) {
    const last = passes.at(-1);
    // Sorted: the new one is the longest.
    if (last !== undefined && (last.length + 1) * text.prompt.length <= limit) last.push(text);
    else passes.push([text]);
  }
  return passes;
}

/** The texts of the base, or those under adapters: what shares a pass. */
class Lane {
  readonly #context: GrowingContext;
  readonly #adapters: ReadonlyMap<string, NamedTensors<"float32">>;
  #growing: readonly Growing[] = [];
  #cache: DecodeCache | undefined;
  #arranged: { readonly names: string; readonly arrangement: Arrangement } | undefined;

  constructor(context: GrowingContext, adapters: ReadonlyMap<string, NamedTensors<"float32">>) {
    this.#context = context;
    this.#adapters = adapters;
  }

  drop(ids: ReadonlySet<number>): void {
    const kept = [...this.#growing.keys()].filter((row) => !ids.has(this.#growing[row]?.text.id ?? -1));
    if (kept.length === this.#growing.length) return;
    this.#growing = kept.map((row) => must(this.#growing[row], "text"));
    this.#cache = kept.length === 0 ? undefined : DecodeCache.join([{ cache: must(this.#cache, "cache"), rows: kept }]);
  }

  clear(): void {
    this.#growing = [];
    this.#cache = undefined;
  }

  /** Rows under one adapter are one client's; under several each row is a client of its own. */
  async #arrange(names: readonly (string | null)[]): Promise<Arrangement> {
    const key = JSON.stringify(names);
    if (this.#arranged?.names === key) return this.#arranged.arrangement;
    const several = new Set(names).size > 1;
    const each = (several ? names : names.slice(0, 1)).map((name) => (name === null ? null : { adapter: must(this.#adapters.get(name), `adapter ${name}`) })).filter((one) => one !== null);
    const adapted = each.length === 0 ? undefined : await adaptedBy(this.#context, each);
    const arrangement = { clients: several ? names.length : 1, rowsEach: several ? 1 : names.length, adapted };
    this.#arranged = { names: key, arrangement };
    return arrangement;
  }

  /** One more token of each text. */
  async step(): Promise<readonly GrownText[]> {
    if (this.#growing.length === 0) return [];
    if (this.#context.aborted()) throw interrupted("generation");
    const growing = this.#growing;
    const cache = must(this.#cache, "cache");
    const { clients, rowsEach, adapted } = await this.#arrange(growing.map(({ text }) => text.adapter));
    const session = await this.#context.sessions.decode(adapted !== undefined, { several: clients > 1, rows: growing.length });
    const positions = Int32Array.from(growing, ({ position }) => position);
    const shape = [clients, rowsEach, 1];
    const out = await session.run({ ids: tensor("int32", shape, Int32Array.from(growing, ({ last }) => last)), positions: tensor("int32", shape, positions), ...cache.feeds(positions), ...adapted?.feeds });
    cache.append(out);
    const logits = this.#logits(out);
    return growing.map((one, row) => {
      one.position++;
      return this.#extend(one, logits(row));
    });
  }

  /** Rows `[V]` of a pass's logits. */
  #logits(out: Readonly<Record<string, Tensor>>): (row: number) => Float32Array {
    const { vocabSize } = this.#context.model;
    // The graph declares them as float32.
    const all = must(out["logits"], "logits").data as Float32Array;
    return (row) => all.subarray(row * vocabSize, (row + 1) * vocabSize);
  }

  #extend(one: Growing, logits: Float32Array): GrownText {
    const { id, sampling, draw, top } = one.text;
    one.last = sampleToken(logits, sampling, draw, one.written++);
    return { id, next: scoreToken(logits, one.last, top) };
  }

  /** Reads prompts, and gives each text its first token. */
  async admit(texts: readonly TextToGrow[]): Promise<readonly GrownText[]> {
    const { model: { vocabSize }, tokensPerPass } = this.#context;
    const scored = Math.max(1, Math.min(tokensPerPass, Math.floor(LOGITS_BYTES / (4 * vocabSize))));
    const results: GrownText[] = [];
    for (const [scorePrompt, limit] of [[false, tokensPerPass], [true, scored]] as const) {
      for (const pass of passesOf(texts.filter((text) => text.scorePrompt === scorePrompt), limit)) results.push(...(await this.#read(pass, limit)));
    }
    return results;
  }

  /** One pass over prompts padded on the left; one that is longer than `limit` is read piece by piece. */
  async #read(texts: readonly TextToGrow[], limit: number): Promise<readonly GrownText[]> {
    const { model, sessions, aborted } = this.#context;
    const { clients, rowsEach, adapted } = await this.#arrange(texts.map(({ adapter }) => adapter));
    const scorePrompt = texts.some((text) => text.scorePrompt);
    const virtual = adapted?.adapter.virtualTokens ?? 0;
    const prefix = adapted?.adapter.prefixTokens ?? 0;
    const starts = texts.map(({ prompt }) => [...Array.from({ length: virtual }, (_, i) => model.vocabSize + i), ...prompt]);
    const longest = Math.max(...starts.map(({ length }) => length));
    const padding = starts.map(({ length }) => longest - length);
    const session = await sessions.generate(adapted !== undefined, clients > 1);
    const piece = texts.length === 1 ? limit : longest;
    const prompts: ScoredToken[][] = texts.map(() => []);
    let past: Readonly<Record<string, Tensor>> = await startCache({ model, adapted }, texts.length);
    for (let at = 0; ; at += piece) {
      if (aborted()) throw interrupted("generation");
      const width = Math.min(piece, longest - at);
      const keys = prefix + at + width;
      const column = (i: number): number => at + (i % width);
      const of = (i: number): number => Math.floor(i / width);
      const byToken = (value: (row: number, column: number) => number): Tensor => tensor("int32", [clients, rowsEach, width], Int32Array.from({ length: texts.length * width }, (_, i) => value(of(i), column(i))));
      const keyPosition = (pad: number, key: number): number => (key < prefix ? key : key >= prefix + pad ? key - pad : HIDDEN_POSITION);
      const keyPositions = tensor("int32", [texts.length, keys], Int32Array.from({ length: texts.length * keys }, (_, i) => keyPosition(padding[Math.floor(i / keys)] ?? 0, i % keys)));
      const wanted = scorePrompt ? width : 1;
      const out = await session.run({
        ids: byToken((row, c) => starts[row]?.[c - (padding[row] ?? 0)] ?? 0),
        positions: byToken((row, c) => prefix + Math.max(0, c - (padding[row] ?? 0))),
        rows: tensor("int32", [clients, rowsEach * wanted], Int32Array.from({ length: texts.length * wanted }, (_, i) => (Math.floor(i / wanted) % rowsEach) * width + width - wanted + (i % wanted))),
        key_positions: keyPositions, ...past, ...adapted?.feeds,
      });
      const logits = this.#logits(out);
      if (scorePrompt) {
        texts.forEach(({ prompt, top }, row) => {
          for (let c = 0; c < width; c++) {
            // What this place predicts is the prompt's next token.
            const token = prompt[at + c - (padding[row] ?? 0) - virtual + 1];
            if (at + c - (padding[row] ?? 0) >= virtual && token !== undefined) prompts[row]?.push(scoreToken(logits(row * width + c), token, top));
          }
        });
      }
      if (at + width === longest) {
        const growing = texts.map((text, row): Growing => ({ text, last: 0, position: prefix + (starts[row]?.length ?? 0), written: 0 }));
        const results = growing.map((one, row): GrownText => ({ ...this.#extend(one, logits((row + 1) * wanted - 1)), ...(one.text.scorePrompt ? { prompt: prompts[row] ?? [] } : {}) }));
        this.#join(growing, new DecodeCache({ outputs: out, layers: model.layers, positions: keyPositions }));
        return results;
      }
      past = Object.fromEntries(Array.from({ length: model.layers }, (_, i) => [[`past_key_${i}`, must(out[`key_${i}`], "key")], [`past_value_${i}`, must(out[`value_${i}`], "value")]] as const).flat());
    }
  }

  #join(read: readonly Growing[], cache: DecodeCache): void {
    const rows = [...read.keys()].filter((row) => read[row]?.text.once === false);
    if (rows.length === 0) return;
    const before = this.#cache === undefined ? [] : [{ cache: this.#cache, rows: [...this.#growing.keys()] }];
    this.#cache = DecodeCache.join([...before, { cache, rows }]);
    this.#growing = [...this.#growing, ...rows.map((row) => must(read[row], "text"))];
  }
}

/** All texts that grow in one trainer. */
export class GrowingTexts {
  readonly #adapters = new Map<string, NamedTensors<"float32">>();
  readonly #base: Lane;
  readonly #adapted: Lane;

  constructor(context: GrowingContext) {
    this.#base = new Lane(context, this.#adapters);
    this.#adapted = new Lane(context, this.#adapters);
  }

  /** See `Trainer.grow`. Throws FedtuneError("interrupted") once `aborted` says so. */
  async grow({ adapters, drop, admit }: GrowJob): Promise<readonly GrownText[]> {
    for (const [name, tensors] of Object.entries(adapters)) this.#adapters.set(name, tensors);
    const dropped = new Set(drop);
    const results: GrownText[] = [];
    try {
      for (const [lane, texts] of [[this.#base, admit.filter(({ adapter }) => adapter === null)], [this.#adapted, admit.filter(({ adapter }) => adapter !== null)]] as const) {
        lane.drop(dropped);
        results.push(...(await lane.step()), ...(await lane.admit(texts)));
      }
    } catch (error) {
      this.#base.clear();
      this.#adapted.clear();
      throw error;
    }
    return results;
  }
}
