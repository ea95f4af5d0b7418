/** Refuses an update whose tensors are not those that were asked for. A sender's mistake must never be averaged in. */
import { FedtuneError } from "../../core/base/errors.ts";
import { formatShape, sameShape, type NamedTensors } from "../../core/base/tensor.ts";

/** The reason why `got` does not fit `expected` in names or shapes, or undefined where it does; `where` names client and round. */
export function shapeFault(expected: NamedTensors<"float32">, got: NamedTensors<"float32">, where: string): FedtuneError | undefined {
  for (const [name, { shape }] of expected) {
    const update = got.get(name);
    if (update === undefined) return fault(where, `tensor ${name}`, "an update without it");
    if (!sameShape(update.shape, shape)) return fault(where, `${name} of shape ${formatShape(shape)}`, formatShape(update.shape));
  }
  const extra = [...got.keys()].find((name) => !expected.has(name));
  return extra === undefined ? undefined : fault(where, "only the adapter's own tensors", `tensor ${extra}`);
}

/** The reason why tensors cannot be used, or undefined where all their values are finite. */
export function valueFault(tensors: NamedTensors<"float32">, where: string): FedtuneError | undefined {
  for (const [name, { data }] of tensors) if (!allFinite(data)) return fault(where, `${name} of finite numbers`, "NaN or infinity");
  return undefined;
}

function fault(where: string, expected: string, got: string): FedtuneError {
  return new FedtuneError("federation", { where, expected, got, remedy: "Check that the client trains the adapter that it was sent" });
}

function allFinite(values: Float32Array): boolean {
  // A number minus itself is zero, and NaN exactly where it is not finite. An indexed loop: `for … of` takes seven times as long.
  let sum = 0;
  for (let i = 0; i < values.length; i++) {
    const value = values[i] ?? 0;
    sum += value - value;
  }
  return sum === 0;
}
