/** What adapter tensors start from. */
import { elementCount } from "../../core/base/tensor.ts";
import type { ParameterSpec } from "./adapter.ts";

type Start = ParameterSpec["start"];

export function constantStart(shape: readonly number[], value: number): Start {
  return () => new Float32Array(elementCount(shape)).fill(value);
}

/** Uniform in (−bound, bound). */
export function uniformStart(shape: readonly number[], bound: number): Start {
  return (from) => Float32Array.from(from.uniforms(elementCount(shape)), (u) => (2 * u - 1) * bound);
}

/** Normal with mean 0. */
export function normalStart(shape: readonly number[], deviation: number): Start {
  return (from) => Float32Array.from(from.normals(elementCount(shape)), (x) => x * deviation);
}
