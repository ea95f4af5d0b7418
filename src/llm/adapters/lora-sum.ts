/** The weighted sum of LoRA adapters as one LoRA: Σ wᵢ sᵢ Bᵢ Aᵢ = [w₁s₁B₁ … wₙsₙBₙ] [A₁; …; Aₙ], exact, with the ranks added up. */
import { must } from "../../core/base/errors.ts";
import { tensor } from "../../core/base/tensor.ts";
import type { NamedTensors, Tensor } from "../../core/base/tensor.ts";
import type { SummedPart } from "./adapter.ts";
import { PEFT_PREFIX } from "./peft-config.ts";

/** One module's factors A `[r, in]` and B `[out, r]`, B to be multiplied by `factor`. */
interface Term {
  readonly a: Tensor<"float32">;
  readonly b: Tensor<"float32">;
  readonly factor: number;
}

/** A's under one another. */
function stackA(terms: readonly Term[]): Tensor<"float32"> {
  const columns = terms[0]?.a.shape[1] ?? 0;
  return tensor("float32", [rankOf(terms), columns], Float32Array.from(terms.flatMap(({ a }) => [...a.data])));
}

/** B's side by side, each with its factor. */
function joinB(terms: readonly Term[]): Tensor<"float32"> {
  const [rows, rank] = [terms[0]?.b.shape[0] ?? 0, rankOf(terms)];
  const data = new Float32Array(rows * rank);
  let column = 0;
  for (const { b, factor } of terms) {
    const r = b.shape[1] ?? 0;
    for (let o = 0; o < rows; o++) for (let k = 0; k < r; k++) data[o * rank + column + k] = factor * (b.data[o * r + k] ?? 0);
    column += r;
  }
  return tensor("float32", [rows, rank], data);
}

const rankOf = (terms: readonly Term[]): number => terms.reduce((sum, { a }) => sum + (a.shape[0] ?? 0), 0);

export interface LowRankSum {
  readonly tensors: NamedTensors<"float32">;
  /** Ranks by module path, and the settings that make every scaling 1: alpha = rank. */
  readonly ranks: ReadonlyMap<string, number>;
}

/** The sum of the parts' factor pairs. */
export function sumFactorPairs(parts: readonly Pick<SummedPart<unknown>, "adapter" | "tensors" | "weight">[]): LowRankSum {
  const modules = new Map<string, { readonly bName: string; readonly terms: Term[] }>();
  for (const { adapter, tensors, weight } of parts) {
    for (const { a, b, scaling } of adapter.factorPairs) {
      const known = modules.get(a) ?? { bName: b, terms: [] };
      known.terms.push({ a: must(tensors.get(a), a), b: must(tensors.get(b), b), factor: weight * scaling });
      modules.set(a, known);
    }
  }
  const summed = new Map<string, Tensor<"float32">>();
  const ranks = new Map<string, number>();
  for (const [a, { bName, terms }] of modules) {
    summed.set(a, stackA(terms));
    summed.set(bName, joinB(terms));
    ranks.set(a.slice(PEFT_PREFIX.length).replace(/\.lora_A\.weight$/u, ""), rankOf(terms));
  }
  return { tensors: summed, ranks };
}
