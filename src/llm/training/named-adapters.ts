/** Several adapters by name on one base: each prompt under the one it names, and new ones added up from those there are. */
import { didYouMean, FedtuneError, must } from "../../core/base/errors.ts";
import { canonicalJson } from "../../core/base/hash.ts";
import type { NamedTensors } from "../../core/base/tensor.ts";
import { resolveModelFolder } from "../../core/store/hub.ts";
import { readAdapterSettings, readAdapterTensors, writeAdapterFolder } from "../adapters/adapter-folder.ts";
import { bindAdapter, initialTensors } from "../adapters/all.ts";
import type { AdapterSettings } from "../adapters/all.ts";
import { sumAdapters } from "../adapters/sum.ts";
import type { SummedAdapter } from "../adapters/sum.ts";
import { openArchitecture } from "../architectures/all.ts";
import type { ArchitectureModel } from "../architectures/architecture.ts";
import { startContext } from "./local-trainer.ts";
import { resolveRuntime } from "./resolve-runtime.ts";
import { runtimeSchema, trainingSchema } from "./settings.ts";
import { NO_EXAMPLES } from "./setup.ts";
import { createTrainer } from "./trainer.ts";
import type { GenerateOptions, Trainer } from "./types.ts";

export interface NamedAdaptersOptions {
  /** Folder of a model, or its id on the Hub. */
  readonly model: string;
  /** Adapter folders by name. */
  readonly adapters: Readonly<Record<string, string>>;
}

export interface NamedPrompt {
  /** Token ids. */
  readonly ids: Int32Array;
  /** Name of an adapter; null: the base. */
  readonly adapter: string | null;
}

export interface NamedAdapters extends AsyncDisposable {
  readonly names: readonly string[];
  /** New token ids of each prompt, in their order. Prompts under adapters of equal settings share one pass over the base. */
  generate(prompts: readonly NamedPrompt[], options: GenerateOptions): Promise<readonly Int32Array[]>;
  /** Makes `name` the sum of adapters, each times its weight (PEFT's `add_weighted_adapter`; LoRA: exact). Throws FedtuneError("config") where they cannot be added. */
  add(name: string, weights: Readonly<Record<string, number>>): void;
  /** Writes an adapter's folder. */
  save(name: string, folder: string): void;
}

/** What is held of each adapter; adapters with the same `key` run in the same sessions. */
interface Held extends SummedAdapter {
  readonly key: string;
}

/** An adapter's folder, read whole. Throws FedtuneError("model") where it does not fit the model. */
export function readNamedAdapter(path: string, modelFolder: string, model: ArchitectureModel): SummedAdapter {
  const settings: AdapterSettings = { ...readAdapterSettings(path), init_from: path };
  const bound = bindAdapter(settings, model);
  const { parameters, frozen } = readAdapterTensors(path, bound);
  const drawn = initialTensors(bound.frozen.filter(({ name }) => !frozen.has(name)), 0, startContext(modelFolder, model));
  return { settings, parameters, frozen: new Map([...frozen, ...drawn]) };
}

/** Equal for adapters that run in the same sessions. */
export function sessionKey(name: string, { settings: { init_from: folder, ...settings }, frozen }: SummedAdapter): string {
  // Frozen tensors are a session's own: adapters that read theirs from a folder are not mixed.
  return canonicalJson({ settings, frozenFrom: frozen.size > 0 ? (folder ?? name) : null });
}

class OpenNamedAdapters implements NamedAdapters {
  readonly #options: NamedAdaptersOptions;
  readonly #folder: string;
  readonly #model: ArchitectureModel;
  readonly #held = new Map<string, Held>();
  readonly #trainers = new Map<string, Promise<Trainer>>();

  constructor(options: NamedAdaptersOptions, folder: string, model: ArchitectureModel) {
    this.#options = options;
    this.#folder = folder;
    this.#model = model;
    for (const [name, path] of Object.entries(options.adapters)) this.#hold(name, readNamedAdapter(path, folder, model));
  }

  get names(): readonly string[] {
    return [...this.#held.keys()];
  }

  #hold(name: string, adapter: SummedAdapter): void {
    this.#held.set(name, { ...adapter, key: sessionKey(name, adapter) });
  }

  #find(name: string): Held {
    const held = this.#held.get(name);
    if (held !== undefined) return held;
    throw new FedtuneError("config", { where: "adapter", expected: `one of ${this.names.join(", ")}`, got: `\`${name}\``, remedy: didYouMean(name, this.names) });
  }

  #trainer(key: string, settings: AdapterSettings | undefined): Promise<Trainer> {
    let trainer = this.#trainers.get(key);
    if (trainer === undefined) {
      trainer = resolveRuntime(runtimeSchema.parse({}), { hiddenSize: 0, clients: 1, stepTokens: 1 }).then((runtime) => createTrainer({
        modelFolder: this.#folder, ...(settings === undefined ? {} : { adapter: settings, inferenceOnly: true }), training: trainingSchema.parse({}),
        runtime, data: NO_EXAMPLES, packTokens: 1, seed: 0,
      }));
      this.#trainers.set(key, trainer);
    }
    return trainer;
  }

  async generate(prompts: readonly NamedPrompt[], options: GenerateOptions): Promise<readonly Int32Array[]> {
    const held = prompts.map(({ adapter }) => (adapter === null ? undefined : this.#find(adapter)));
    const groups = Map.groupBy(prompts.keys(), (i) => held[i]?.key ?? held.find((h) => h !== undefined)?.key ?? "base");
    const results: Int32Array[] = [];
    for (const [key, places] of groups) {
      const trainer = await this.#trainer(key, places.map((i) => held[i]?.settings).find((s) => s !== undefined));
      const texts = await trainer.generate({ prompts: places.map((i) => must(prompts[i], "prompt").ids), adapters: places.map((i): NamedTensors<"float32"> | null => held[i]?.parameters ?? null), options }, {});
      places.forEach((place, row) => (results[place] = must(texts[row], "text")));
    }
    return results;
  }

  add(name: string, weights: Readonly<Record<string, number>>): void {
    const parts = Object.entries(weights).map(([part, weight]) => ({ ...this.#find(part), weight }));
    this.#hold(name, sumAdapters(parts, this.#model));
  }

  save(name: string, folder: string): void {
    const { settings, parameters, frozen } = this.#find(name);
    writeAdapterFolder(folder, { settings, parameters, frozen, model: this.#model, baseModel: this.#options.model });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const trainer of this.#trainers.values()) await (await trainer)[Symbol.asyncDispose]();
    this.#trainers.clear();
  }
}

/** Opens a model with several adapters by name. Throws FedtuneError("model") for an adapter that does not fit the model. */
export async function openNamedAdapters(options: NamedAdaptersOptions): Promise<NamedAdapters> {
  const folder = await resolveModelFolder(options.model);
  return new OpenNamedAdapters(options, folder, await openArchitecture(folder));
}
