/** Several workers share a list of items: each takes the next one when it is free. Results are in the items' order, whoever did them. */
import { interrupted } from "../../core/base/errors.ts";

/**
 * `work(worker, item)` for every item. After a rejection no item is begun; it is passed on once all running ones have ended.
 * @throws FedtuneError("interrupted") where the signal is aborted before an item is begun; what `work` rejects with
 */
export async function takeInTurn<W, I, R>(workers: readonly W[], items: readonly I[], { work, signal }: { readonly work: (worker: W, item: I) => Promise<R>; readonly signal?: AbortSignal | undefined }): Promise<readonly R[]> {
  const results = new Map<number, R>();
  const queue = items.entries();
  let failed = false;
  const settled = await Promise.allSettled(
    workers.map(async (worker) => {
      for (const [index, item] of queue) {
        if (signal?.aborted === true) throw interrupted("round");
        if (failed) return;
        try {
          results.set(index, await work(worker, item));
        } catch (error) {
          failed = true;
          throw error;
        }
      }
    }),
  );
  for (const outcome of settled) if (outcome.status === "rejected") throw outcome.reason;
  return [...results].toSorted(([a], [b]) => a - b).map(([, result]) => result);
}

/** `items` in runs of `size`; the last may be shorter. */
export function chunk<T>(items: readonly T[], size: number): readonly (readonly T[])[] {
  return Array.from({ length: Math.ceil(items.length / size) }, (_, i) => items.slice(i * size, (i + 1) * size));
}
