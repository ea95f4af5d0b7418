/** The record of adapter methods, by the name that the config uses. */
import { randomKey, uniforms } from "../../core/base/random.ts";
import { elementCount, tensor, zeros } from "../../core/base/tensor.ts";
import type { NamedTensors, Tensor } from "../../core/base/tensor.ts";
import type { LinearModule } from "../architectures/architecture.ts";
import type { BoundAdapter } from "./adapter.ts";
import { bindLora } from "./lora.ts";
import type { AdapterSettings } from "./settings.ts";

const METHODS = { lora: bindLora } satisfies Record<AdapterSettings["method"], unknown>;

/** An adapter method bound to a model's modules. Throws FedtuneError("config") where its targets match nothing. */
export function bindAdapter(settings: AdapterSettings, linears: readonly LinearModule[]): BoundAdapter {
  return METHODS[settings.method](settings, linears);
}

/** The tensors that training starts from: a pure function of the seed and each tensor's name. */
export function initialTensors(adapter: BoundAdapter, seed: number): NamedTensors<"float32"> {
  return new Map(
    adapter.parameters.map(({ name, shape, start }): [string, Tensor<"float32">] => {
      if (start.kind === "zeros") return [name, zeros("float32", shape)];
      const draws = uniforms(randomKey(seed, `initial ${name}`), [], elementCount(shape));
      return [name, tensor("float32", shape, Float32Array.from(draws, (u) => (2 * u - 1) * start.bound))];
    }),
  );
}
