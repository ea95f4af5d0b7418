/** Texts that wait for a trainer and grow in it together, whoever asked for them. */
import { FedtuneError, interrupted } from "../../core/base/errors.ts";
import type { NamedTensors } from "../../core/base/tensor.ts";
import type { GrownText, TextToGrow, Trainer } from "./types.ts";

export type QueuedText = Omit<TextToGrow, "id">;

interface Entry {
  readonly id: number;
  readonly text: QueuedText;
  readonly onGrown: (grown: GrownText) => boolean;
  readonly end: (error?: unknown) => void;
}

export interface TextQueueOptions {
  /** Most texts that grow together. */
  readonly batchSize: number;
  /** Most texts that wait. */
  readonly queueSize: number;
  /** Adapters that texts may name. */
  readonly adapters: ReadonlyMap<string, NamedTensors<"float32">>;
}

/** The queue of one trainer, first come first served. */
export class TextQueue {
  readonly #trainer: Trainer;
  readonly #options: TextQueueOptions;
  readonly #sent = new Set<string>();
  readonly #growing = new Map<number, Entry>();
  #waiting: Entry[] = [];
  #drop: number[] = [];
  #nextId = 0;
  #running = false;

  constructor(trainer: Trainer, options: TextQueueOptions) {
    this.#trainer = trainer;
    this.#options = options;
  }

  /** Refuses what would find no place. Throws FedtuneError("resources"). */
  requireRoom(texts: number): void {
    const { queueSize } = this.#options;
    if (this.#waiting.length + texts <= queueSize) return;
    throw new FedtuneError("resources", { where: "queue", expected: `at most ${queueSize} texts waiting`, got: `${this.#waiting.length} and ${texts} more`, remedy: "Ask again in a moment" });
  }

  /**
   * Grows a text until `onGrown`, which sees each token, answers false. Throws FedtuneError("interrupted") once the signal is
   * aborted: the text then leaves before the next step.
   */
  async grow(text: QueuedText, { signal, onGrown }: { readonly signal: AbortSignal; readonly onGrown: (grown: GrownText) => boolean }): Promise<void> {
    if (signal.aborted) throw interrupted("generation");
    const id = this.#nextId++;
    const stop = (): void => this.#stop(id);
    signal.addEventListener("abort", stop, { once: true });
    try {
      await new Promise<void>((resolve, reject) => {
        this.#waiting.push({ id, text, onGrown, end: (error) => (error === undefined ? resolve() : reject(error)) });
        if (!this.#running) void this.#run();
      });
    } finally {
      signal.removeEventListener("abort", stop);
    }
  }

  #stop(id: number): void {
    const entry = this.#growing.get(id) ?? this.#waiting.find((waiting) => waiting.id === id);
    this.#waiting = this.#waiting.filter((waiting) => waiting.id !== id);
    if (this.#growing.delete(id)) this.#drop.push(id);
    entry?.end(interrupted("generation"));
  }

  /** Steps while there is anything to do. Never rejects: an error is that of the texts. */
  async #run(): Promise<void> {
    this.#running = true;
    // Those that are asked for in this turn of the event loop go together.
    await Promise.resolve();
    while (this.#waiting.length + this.#growing.size + this.#drop.length > 0) {
      const admitted = this.#waiting.splice(0, Math.max(0, this.#options.batchSize - this.#growing.size));
      for (const entry of admitted) this.#growing.set(entry.id, entry);
      const drop = this.#drop;
      this.#drop = [];
      try {
        const grown = await this.#trainer.grow({ adapters: this.#unsent(admitted), drop, admit: admitted.map(({ id, text }) => ({ ...text, id })) }, {});
        for (const one of grown) this.#hand(one);
      } catch (error) {
        // The trainer has forgotten them all.
        for (const entry of this.#growing.values()) entry.end(error);
        this.#growing.clear();
        this.#sent.clear();
      }
    }
    this.#running = false;
  }

  /** The adapters that the trainer does not have yet. */
  #unsent(admitted: readonly Entry[]): Record<string, NamedTensors<"float32">> {
    const unsent: Record<string, NamedTensors<"float32">> = {};
    for (const { text: { adapter } } of admitted) {
      const tensors = adapter === null || this.#sent.has(adapter) ? undefined : this.#options.adapters.get(adapter);
      if (adapter === null || tensors === undefined) continue;
      this.#sent.add(adapter);
      unsent[adapter] = tensors;
    }
    return unsent;
  }

  #hand(grown: GrownText): void {
    const entry = this.#growing.get(grown.id);
    if (entry === undefined) return;
    const end = (error?: unknown): void => {
      this.#growing.delete(entry.id);
      this.#drop.push(entry.id);
      entry.end(error);
    };
    try {
      if (!entry.onGrown(grown)) end();
    } catch (error) {
      end(error);
    }
  }
}
