/** Layers of the encoders that prompt methods train: embeddings and linear layers with the names and initial values of PyTorch's. */
import * as g from "../../engine/graph/operations.ts";
import type { Value } from "../../engine/graph/value.ts";
import type { ParameterSpec } from "./adapter.ts";
import { normalStart, uniformStart } from "./starts.ts";

/** A tensor of the encoder by its name, `[C, …shape]`. */
export type Named = (name: string) => Value;

/** A table `[rows, width]`, standard normal as `torch.nn.Embedding`. */
export function embeddingSpecs(path: string, rows: number, width: number): readonly ParameterSpec[] {
  return [{ name: `${path}.weight`, shape: [rows, width], start: normalStart([rows, width], 1) }];
}

/** Weight `[out, in]` and bias `[out]`, uniform within 1/√in as `torch.nn.Linear`. */
export function linearSpecs(path: string, inFeatures: number, outFeatures: number): readonly ParameterSpec[] {
  const spec = (name: string, shape: readonly number[]): ParameterSpec => ({ name: `${path}.${name}`, shape, start: uniformStart(shape, 1 / Math.sqrt(inFeatures)) });
  return [spec("weight", [outFeatures, inFeatures]), spec("bias", [outFeatures])];
}

/** A bias `[C, out]` beside rows: `[C, 1, out]`. */
export function asRow(bias: Value): Value {
  const [clients = 1, width = 1] = bias.shape;
  return g.reshape(bias, [clients, 1, width]);
}

/** x · weightᵀ + bias: `[C, n, in]` → `[C, n, out]`. */
export function linear(tensor: Named, path: string, x: Value): Value {
  return g.add(g.matMul(x, tensor(`${path}.weight`), { transB: true }), asRow(tensor(`${path}.bias`)));
}
