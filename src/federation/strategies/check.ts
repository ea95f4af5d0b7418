/** Refuses an update whose tensors are not those that were asked for. A sender's mistake must never be averaged in. */
import { FedtuneError } from "../../core/base/errors.ts";
import { formatShape, sameShape, type NamedTensors } from "../../core/base/tensor.ts";

/**
 * The reason why `got` does not fit `expected` in names, shapes or finite values, or undefined where it does;
 * `where` names client and round.
 */
export function updateFault(expected: NamedTensors<"float32">, got: NamedTensors<"float32">, where: string): FedtuneError | undefined {
  const refuse = (wanted: string, came: string): FedtuneError =>
    new FedtuneError("federation", { where, expected: wanted, got: came, remedy: "Check that the client trains the adapter that it was sent" });
  for (const [name, { shape }] of expected) {
    const update = got.get(name);
    if (update === undefined) return refuse(`tensor ${name}`, "an update without it");
    if (!sameShape(update.shape, shape)) return refuse(`${name} of shape ${formatShape(shape)}`, formatShape(update.shape));
    if (!allFinite(update.data)) return refuse(`${name} of finite numbers`, "NaN or infinity");
  }
  const extra = [...got.keys()].find((name) => !expected.has(name));
  return extra === undefined ? undefined : refuse("only the adapter's own tensors", `tensor ${extra}`);
}

function allFinite(values: Float32Array): boolean {
  // A number minus itself is zero, and NaN exactly where it is not finite: one pass without branches.
  let sum = 0;
  for (const value of values) sum += value - value;
  return sum === 0;
}
