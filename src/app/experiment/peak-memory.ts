/** Most resident memory that this process was seen to have, all its threads together. */

/** How often it is looked at. */
const EVERY_MS = 100;

export interface PeakMemory extends Disposable {
  /** Most bytes seen since the last call. */
  readonly take: () => number;
}

/** Starts looking. Does not keep the process alive. */
export function watchMemory(): PeakMemory {
  let peak = 0;
  const look = (): void => void (peak = Math.max(peak, process.memoryUsage.rss()));
  const timer = setInterval(look, EVERY_MS).unref();
  return {
    take: () => {
      look();
      const seen = peak;
      peak = 0;
      return seen;
    },
    [Symbol.dispose]: () => clearInterval(timer),
  };
}
