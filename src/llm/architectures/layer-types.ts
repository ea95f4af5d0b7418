/** Which layers look back over a window only: `layer_types` and `sliding_window` of a config. */
import { z } from "zod";
import { FedtuneError } from "../../core/base/errors.ts";
import { indices } from "./config.ts";

const layerType = z.enum(["full_attention", "sliding_attention"]);
export type LayerType = z.infer<typeof layerType>;

/** The field `layer_types` of a config. */
export const layerTypes = z.array(layerType).nullish();

export interface LayerTypeConfig {
  readonly num_hidden_layers: number;
  readonly layer_types?: readonly LayerType[] | null | undefined;
  readonly sliding_window?: number | null | undefined;
}

export interface LayerSpan {
  readonly type: LayerType;
  /** Tokens that each token looks back upon, itself included; undefined: all. */
  readonly window: number | undefined;
}

/** The span of every layer's attention. Throws FedtuneError("model") where the fields do not fit each other. */
export function layerSpans(config: LayerTypeConfig, where: string, fallback: (layer: number) => LayerType): readonly LayerSpan[] {
  const layers = config.num_hidden_layers;
  const types = config.layer_types ?? indices(layers).map(fallback);
  if (types.length !== layers) throw new FedtuneError("model", { where: `${where}: layer_types`, expected: `${layers} of them, as num_hidden_layers says`, got: `${types.length}` });
  return types.map((type) => {
    if (type === "full_attention") return { type, window: undefined };
    if (config.sliding_window != null) return { type, window: config.sliding_window };
    throw new FedtuneError("model", { where: `${where}: sliding_window`, expected: "a number of tokens, since layers of layer_types are `sliding_attention`", got: JSON.stringify(config.sliding_window) ?? "nothing" });
  });
}
