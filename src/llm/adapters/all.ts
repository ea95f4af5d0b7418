/** The record of adapter methods, by the name that the config uses. */
import type { z } from "zod";
import { normals, randomKey, uniforms } from "../../core/base/random.ts";
import { tensor } from "../../core/base/tensor.ts";
import type { NamedTensors } from "../../core/base/tensor.ts";
import type { ArchitectureModel } from "../architectures/architecture.ts";
import type { AdapterMethod, BoundAdapter, ParameterSpec, StartSources } from "./adapter.ts";
import { adalora } from "./adalora.ts";
import { bitfit } from "./bitfit.ts";
import { bottleneck } from "./bottleneck.ts";
import { dora } from "./dora.ts";
import { full } from "./full.ts";
import { ia3 } from "./ia3.ts";
import { lora } from "./lora.ts";
import { p_tuning } from "./p_tuning.ts";
import { prefix } from "./prefix.ts";
import { prompt } from "./prompt.ts";
import { vera } from "./vera.ts";

export const ADAPTER_METHODS = { lora, dora, ia3, prompt, prefix, p_tuning, vera, adalora, bitfit, bottleneck, full } as const;

type Methods = typeof ADAPTER_METHODS;
/** The settings of an adapter, of whichever method. */
export type AdapterSettings = { readonly [M in keyof Methods]: z.infer<Methods[M]["schema"]> }[keyof Methods];

/** The method that settings belong to. */
export function methodOf(settings: AdapterSettings): AdapterMethod<AdapterSettings> {
  // The record is indexed by the settings' own discriminator; TypeScript cannot correlate the two.
  return ADAPTER_METHODS[settings.method] as AdapterMethod<AdapterSettings>;
}

/** An adapter method bound to a model's modules. Throws FedtuneError("config") where its settings do not fit the model. */
export function bindAdapter(settings: AdapterSettings, model: ArchitectureModel): BoundAdapter {
  return methodOf(settings).bind(settings, model);
}

/** Where tensors start from besides the seed. */
export type StartContext = Pick<StartSources, "base" | "tokenize">;

/** The values that tensors have before training: a pure function of the seed, each tensor's name and the base. */
export function initialTensors(specs: readonly ParameterSpec[], seed: number, context: StartContext): NamedTensors<"float32"> {
  return new Map(
    specs.map(({ name, shape, start }) => {
      const key = randomKey(seed, `initial ${name}`);
      return [name, tensor("float32", shape, start({ ...context, uniforms: (n) => uniforms(key, [], n), normals: (n) => normals(key, [], n) }))];
    }),
  );
}
