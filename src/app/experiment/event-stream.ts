/** Events of work that runs in the background, as an async iterator. Leaving the loop early stops the work. */

/** Does the work; `emit` hands an event to the reader. The signal is aborted when the reader leaves. */
export type Producer<E> = (emit: (event: E) => void, signal: AbortSignal) => Promise<void>;

/**
 * Starts the work when the first event is asked for, and yields its events in order, whatever the reader's pace.
 * Rejects with what the work rejects with, after the events before it. `signal` stops the work from outside.
 */
export async function* streamEvents<E>(produce: Producer<E>, signal?: AbortSignal): AsyncGenerator<E, void, undefined> {
  const queue: E[] = [];
  let wake = Promise.withResolvers<void>();
  let ended = false;
  const left = new AbortController();
  const work = produce(
    (event) => {
      queue.push(event);
      wake.resolve();
    },
    signal === undefined ? left.signal : AbortSignal.any([left.signal, signal]),
  ).finally(() => {
    ended = true;
    wake.resolve();
  });
  // Its rejection is passed on below, once the events before it are read.
  work.catch(() => {});
  try {
    for (;;) {
      for (let event = queue.shift(); event !== undefined; event = queue.shift()) yield event;
      if (ended) break;
      await wake.promise;
      wake = Promise.withResolvers<void>();
    }
    await work;
  } finally {
    if (!ended) {
      left.abort();
      await work.catch(() => {});
    }
  }
}
