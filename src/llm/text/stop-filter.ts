/** Lets a growing text through up to the first stop string, which itself is never shown, not even in part. */

export interface StopFilter {
  /** Takes the next piece; returns what can be shown now. Nothing once a stop string was seen. */
  push(piece: string): string;
  /** What was held back because it might have become a stop string. */
  finish(): string;
}

/** Length of the longest end of `text` that begins one of the stop strings. */
function heldBack(text: string, stops: readonly string[]): number {
  const longest = Math.min(text.length, Math.max(0, ...stops.map((stop) => stop.length - 1)));
  for (let length = longest; length > 0; length--) {
    if (stops.some((stop) => stop.startsWith(text.slice(-length)))) return length;
  }
  return 0;
}

/** A filter for these stop strings; without any it passes everything at once. */
export function createStopFilter(stops: readonly string[]): StopFilter {
  let pending = "";
  let stopped = false;
  return {
    push(piece) {
      if (stopped) return "";
      pending += piece;
      const found = stops.map((stop) => pending.indexOf(stop)).filter((at) => at >= 0);
      stopped = found.length > 0;
      const shown = stopped ? pending.slice(0, Math.min(...found)) : pending.slice(0, pending.length - heldBack(pending, stops));
      pending = stopped ? "" : pending.slice(shown.length);
      return shown;
    },
    finish() {
      const rest = pending;
      pending = "";
      return rest;
    },
  };
}
