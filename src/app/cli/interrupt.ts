/**
 * What a signal does: the first asks a command that can stop cooperatively to do so; a second one, or the first where
 * nothing can stop by itself, ends the process at once.
 */

/** One press of Ctrl-C may reach the process twice (from the terminal and from a parent): these count as one. */
const SAME_PRESS_MS = 250;

export interface Interrupt {
  /**
   * From now on the first signal aborts the returned AbortSignal and calls `onStop` instead of ending the process.
   * Later calls return the same AbortSignal.
   */
  readonly cooperate: (onStop?: () => void) => AbortSignal;
  /** Asks for a stop as the first signal does; false where nothing can stop by itself. */
  readonly requestStop: () => boolean;
  /** Work to do before the process ends at once: give the cursor back. */
  readonly onExit: (restore: () => void) => void;
}

export interface SignalSource {
  on(signal: "SIGINT" | "SIGTERM", listener: () => void): unknown;
}

/** Listens to SIGINT and SIGTERM. `exitNow` must not return. */
export function listenForSignals(source: SignalSource, { now, exitNow }: { readonly now: () => number; readonly exitNow: () => void }): Interrupt {
  const controller = new AbortController();
  const restores: (() => void)[] = [];
  let cooperative = false;
  let onStop: (() => void) | undefined;
  let firstAt: number | undefined;
  const onSignal = (): void => {
    if (cooperative && firstAt === undefined) {
      firstAt = now();
      controller.abort();
      onStop?.();
      return;
    }
    if (firstAt !== undefined && now() - firstAt < SAME_PRESS_MS) return;
    for (const restore of restores) restore();
    exitNow();
  };
  source.on("SIGINT", onSignal);
  source.on("SIGTERM", onSignal);
  return {
    cooperate: (callback) => {
      cooperative = true;
      onStop = callback ?? onStop;
      return controller.signal;
    },
    requestStop: () => {
      if (cooperative && firstAt === undefined) onSignal();
      return cooperative;
    },
    onExit: (restore) => restores.push(restore),
  };
}
