/** An adapter that is open: the tensors it starts from, those that nobody trains, and its forms while training, at rest and on disk. */
import { FedtuneError, must } from "../../core/base/errors.ts";
import { tensor } from "../../core/base/tensor.ts";
import type { NamedTensors, Tensor } from "../../core/base/tensor.ts";
import type { Session } from "../../engine/runtime/onnx-session.ts";
import type { BoundAdapter, ParameterSpec } from "../adapters/adapter.ts";
import { readAdapterTensors } from "../adapters/adapter-folder.ts";
import type { AdapterFolderTensors } from "../adapters/adapter-folder.ts";
import { initialTensors } from "../adapters/all.ts";
import type { AdapterSettings, StartContext } from "../adapters/all.ts";
import { flatSize, flatten, unflatten } from "./flat.ts";
import { frozenInput, isAnchored, trainedSpecs } from "./graphs.ts";

export interface OpenAdapterOptions {
  readonly settings: AdapterSettings;
  readonly adapter: BoundAdapter;
  readonly seed: number;
  readonly context: StartContext;
  /** Opens the session of `encoderGraph`. */
  readonly encoder: () => Promise<Session>;
}

/** What one client starts a round from. */
export interface TrainingStart {
  /** Tensors by `trainedSpecs`. */
  readonly trained: NamedTensors<"float32">;
  /** `[P']`, where the encoder does not travel. */
  readonly anchor?: Float32Array;
}

export class OpenedAdapter {
  readonly adapter: BoundAdapter;
  /** Feeds of the frozen tensors, by input name. */
  readonly frozenFeeds: Readonly<Record<string, Tensor<"float32">>>;
  readonly #options: OpenAdapterOptions;
  #folder: AdapterFolderTensors | undefined;

  constructor(options: OpenAdapterOptions) {
    const { adapter, seed, context } = options;
    this.#options = options;
    this.adapter = adapter;
    // A run that is resumed needs the folder that it started from only where frozen tensors come from there.
    const read = adapter.frozen.some(({ saved }) => saved) ? this.#read()?.frozen : undefined;
    const drawn = initialTensors(adapter.frozen.filter(({ name }) => read?.has(name) !== true), seed, context);
    this.frozenFeeds = Object.fromEntries(adapter.frozen.map(({ name }) => [frozenInput(name), must(read?.get(name) ?? drawn.get(name), name)]));
  }

  /** The tensors of the folder that training starts from; undefined where it starts anew. */
  #read(): AdapterFolderTensors | undefined {
    const { settings, adapter } = this.#options;
    if (settings.init_from !== undefined) this.#folder ??= readAdapterTensors(settings.init_from, adapter);
    return this.#folder;
  }

  /** What clients exchange: the encoder's tensors where it travels, else the adapter's parameters. */
  get exchanged(): readonly ParameterSpec[] {
    return isAnchored(this.adapter) ? this.adapter.parameters : trainedSpecs(this.adapter);
  }

  /** The tensors that training starts from, in the form that is exchanged. Throws FedtuneError("model") where `init_from` lacks the encoder. */
  async initial(): Promise<NamedTensors<"float32">> {
    const { adapter, seed, context, settings } = this.#options;
    const travels = adapter.encoder?.travels === true;
    const folder = this.#read();
    if (folder === undefined) {
      const trained = initialTensors(trainedSpecs(adapter), seed, context);
      return isAnchored(adapter) ? this.#encode(trained) : trained;
    }
    if (!travels) return folder.parameters;
    if (folder.encoder !== undefined) return folder.encoder;
    throw new FedtuneError("model", { where: settings.init_from ?? "adapter.init_from", expected: "encoder.safetensors beside the adapter, to go on training its encoder", got: "none", remedy: "Set adapter.encoder=local to train from what the adapter holds" });
  }

  async #encode(trained: NamedTensors<"float32">): Promise<NamedTensors<"float32">> {
    const session = await this.#options.encoder();
    const { encoded } = await session.run({ parameters: flatTensor(trained, trainedSpecs(this.adapter)) });
    // The graph declares it as float32.
    return unflatten(must(encoded, "encoded").data as Float32Array, this.adapter.parameters);
  }

  /** The adapter's parameters from what is exchanged. */
  async parameters(exchanged: NamedTensors<"float32">): Promise<NamedTensors<"float32">> {
    return this.adapter.encoder?.travels === true ? await this.#encode(exchanged) : exchanged;
  }

  /** `[1, P]` parameters and the frozen tensors: what graphs without an encoder are fed. */
  async feeds(exchanged: NamedTensors<"float32">): Promise<Record<string, Tensor>> {
    return { ...this.frozenFeeds, parameters: flatTensor(await this.parameters(exchanged), this.adapter.parameters) };
  }

  /** What is written to an adapter's folder. */
  async saved(exchanged: NamedTensors<"float32">): Promise<AdapterFolderTensors> {
    const parameters = await this.parameters(exchanged);
    const frozen = new Map(this.adapter.frozen.flatMap(({ name }): [string, Tensor<"float32">][] => [[name, must(this.frozenFeeds[frozenInput(name)], name)]]));
    return { parameters, frozen, ...(this.adapter.encoder?.travels === true ? { encoder: exchanged } : {}) };
  }

  async trainingStart(exchanged: NamedTensors<"float32">): Promise<TrainingStart> {
    if (!isAnchored(this.adapter)) return { trained: exchanged };
    const { seed, context } = this.#options;
    const trained = initialTensors(trainedSpecs(this.adapter), seed, context);
    const [wanted, given] = [flatArray(exchanged, this.adapter.parameters), flatArray(await this.#encode(trained), this.adapter.parameters)];
    return { trained, anchor: wanted.map((x, i) => x - (given[i] ?? 0)) };
  }

  /** What is exchanged, after training. */
  async trainingEnd(trained: NamedTensors<"float32">, { anchor }: TrainingStart): Promise<NamedTensors<"float32">> {
    if (anchor === undefined) return trained;
    const encoded = flatArray(await this.#encode(trained), this.adapter.parameters);
    return unflatten(encoded.map((x, i) => x + (anchor[i] ?? 0)), this.adapter.parameters);
  }
}

function flatArray(tensors: NamedTensors<"float32">, specs: readonly ParameterSpec[]): Float32Array {
  const data = new Float32Array(flatSize(specs));
  flatten(tensors, specs, data);
  return data;
}

function flatTensor(tensors: NamedTensors<"float32">, specs: readonly ParameterSpec[]): Tensor<"float32"> {
  const data = flatArray(tensors, specs);
  return tensor("float32", [1, data.length], data);
}
