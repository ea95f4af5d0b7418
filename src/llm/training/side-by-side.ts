/** Data parallelism within a step: its passes are shared out among sessions that run at the same time. */
import { must } from "../../core/base/errors.ts";
import { tensor } from "../../core/base/tensor.ts";
import type { Tensor } from "../../core/base/tensor.ts";

type Outputs = Readonly<Record<string, Tensor>>;

/** The calling thread's session, which blocks it, or one in a thread of its own. */
interface Runner {
  run(feeds: Outputs): Promise<Outputs>;
}

/** A pass, and how long it should take in comparison with others. */
interface Work {
  readonly size: number;
  readonly feeds: () => Outputs;
}

/** Passes that a runner is given before it has answered: while the calling thread is in one of its own, it gives out none. Their tensors lie in memory. */
const AHEAD = 2;

/** Indices of the work of each runner: the largest first, each to the runner that has least. */
export function shareOut(sizes: readonly number[], runners: number): readonly (readonly number[])[] {
  const shares = Array.from({ length: runners }, () => ({ load: 0, indices: [] as number[] }));
  for (const i of sizes.map((_, index) => index).sort((a, b) => (sizes[b] ?? 0) - (sizes[a] ?? 0) || a - b)) {
    // The last of equals: what is left over falls to other threads than the calling one.
    const least = shares.reduce((best, share) => (share.load <= best.load ? share : best));
    least.load += sizes[i] ?? 0;
    least.indices.push(i);
  }
  return shares.map(({ indices }) => indices);
}

/**
 * Outputs of all passes, in their order. The first runner is the calling thread's own: the others are given passes before it begins.
 * `check` is asked before each pass of its own and may throw; nothing runs any more when this returns or throws.
 */
export async function runSideBySide([own, ...others]: readonly [Runner, ...Runner[]], work: readonly Work[], check: () => void): Promise<readonly Outputs[]> {
  const outputs = new Map<number, Outputs>();
  const failures: unknown[] = [];
  const [mine = [], ...theirs] = shareOut(work.map(({ size }) => size), others.length + 1);
  const run = async (runner: Runner, i: number): Promise<void> => {
    outputs.set(i, await runner.run(must(work[i], "pass").feeds()));
  };
  check();
  const running = others.map(async (runner, at) => {
    const given: Promise<void>[] = [];
    for (const i of theirs[at] ?? []) {
      // Not a moment is waited for the first ones: the calling thread blocks next.
      if (given.length >= AHEAD) await given.at(-AHEAD);
      if (failures.length > 0) break;
      given.push(run(runner, i).catch((error: unknown) => void failures.push(error)));
    }
    await Promise.all(given);
  });
  try {
    for (const i of mine) {
      check();
      if (failures.length > 0) break;
      await run(own, i);
    }
  } catch (error) {
    failures.unshift(error);
  }
  await Promise.all(running);
  if (failures.length > 0) throw failures[0];
  return work.map((_, i) => must(outputs.get(i), `pass ${i}`));
}

/** ((a + b) + c) + …, element by element in float32: what a session adds up that takes one pass after another. */
export function sumInOrder(gradients: readonly Tensor[]): Tensor<"float32"> {
  const [first, ...others] = gradients.map(({ data, shape }) => {
    if (!(data instanceof Float32Array)) throw new Error("gradients: expected float32");
    return { data, shape };
  });
  const { data, shape } = must(first, "a gradient");
  const sum = data.slice();
  for (const { data: next } of others) for (let i = 0; i < sum.length; i++) sum[i] = (sum[i] ?? 0) + (next[i] ?? 0);
  return tensor("float32", shape, sum);
}
