/** How far an evaluation is: one line rewritten in place on a terminal, a line now and then elsewhere, nothing for machines. */
import type { EvaluationProgress } from "../../index.ts";
import { formatSeconds } from "../report/index.ts";
import type { Context } from "./context.ts";
import { fit } from "./text-layout.ts";

const DRAW_MS = 100;
/** Between two lines where nobody watches. */
const LINE_MS = 30_000;
const ERASE_LINE = "\r\u001b[K";

export interface EvaluationReporter extends Disposable {
  show(progress: EvaluationProgress): void;
  stopping(): void;
  /** Takes the line away, so that others can be written. */
  clear(): void;
}

/** Progress for this output. */
export function createEvaluationProgress({ stdout, colors, json, now }: Context): EvaluationReporter {
  const terminal = !json && stdout.isTTY === true && process.env["TERM"] !== "dumb";
  let begun: { readonly benchmark: string; readonly atMs: number; readonly done: number } | undefined;
  let drawnAt = 0;
  let shown = false;
  const clear = (): void => {
    if (shown) stdout.write(ERASE_LINE);
    shown = false;
  };
  return {
    show(progress) {
      const atMs = now();
      if (begun?.benchmark !== progress.benchmark) {
        begun = { benchmark: progress.benchmark, atMs, done: progress.done };
        drawnAt = 0;
        if (!terminal) drawnAt = atMs;
      }
      if (json || atMs - drawnAt < (terminal ? DRAW_MS : LINE_MS)) return;
      drawnAt = atMs;
      const seconds = (atMs - begun.atMs) / 1000;
      const done = progress.done - begun.done;
      const rate = seconds > 0 ? done / seconds : 0;
      const left = rate > 0 ? `  ${rate.toFixed(rate < 10 ? 1 : 0)} questions/s, ${formatSeconds((progress.total - progress.done) / rate)} left` : "";
      const line = `${progress.benchmark}  ${progress.done} of ${progress.total}${left}`;
      if (!terminal) {
        stdout.write(`${line}\n`);
        return;
      }
      stdout.write(`${ERASE_LINE}${colors.dim(fit(line, (stdout.columns ?? 80) - 1))}`);
      shown = true;
    },
    stopping() {
      clear();
      if (!json) stdout.write("stopping after the running pass …\n");
    },
    clear,
    [Symbol.dispose]: clear,
  };
}
