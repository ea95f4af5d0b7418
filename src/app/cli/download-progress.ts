/** Shows downloads while they go on: one line that is written over in a terminal, a line a file elsewhere, events for machines. */
import { formatBytes, formatSeconds } from "../report/index.ts";
import type { Context } from "./context.ts";
import { tell } from "./context.ts";
import { fit } from "./text-layout.ts";

export interface ShownDownload {
  readonly onProgress: (file: string, doneBytes: number, totalBytes: number | undefined) => void;
  /** Takes the line away; to be called once nothing more comes. */
  readonly end: () => void;
}

/** How often the line is written anew. */
const EVERY_MS = 200;

interface Running {
  readonly file: string;
  readonly startedMs: number;
  /** Bytes that lay here already when the download went on. */
  readonly startedBytes: number;
  shownMs: number;
}

/** A display of downloads on stderr, so that stdout holds the result alone. */
export function showDownload(context: Context): ShownDownload {
  const { stderr, json, now } = context;
  const overwrites = stderr.isTTY === true && !json;
  let running: Running | undefined;
  const clear = (): void => void (overwrites && running !== undefined && stderr.write("\r\u001b[K"));
  return {
    onProgress: (file, doneBytes, totalBytes) => {
      const first = running?.file !== file;
      if (running === undefined || first) running = { file, startedMs: now(), startedBytes: doneBytes, shownMs: 0 };
      const whole = doneBytes === totalBytes;
      if (!first && !whole && now() - running.shownMs < EVERY_MS) return;
      running.shownMs = now();
      const seconds = (now() - running.startedMs) / 1000;
      const bytesPerSecond = seconds > 0 ? (doneBytes - running.startedBytes) / seconds : undefined;
      tell(context, { type: "progress", file, doneBytes, totalBytes: totalBytes ?? null, bytesPerSecond: bytesPerSecond ?? null });
      if (json) return;
      const line = describe({ file, doneBytes, totalBytes, bytesPerSecond });
      if (overwrites) stderr.write(`\r\u001b[K${fit(line, (stderr.columns ?? 80) - 1)}`);
      else if (first || whole) stderr.write(`${line}\n`);
    },
    end: () => {
      clear();
      running = undefined;
    },
  };
}

/** `gsm8k: train.jsonl  41 %  1.7 of 4.2 MB  850 kB/s  3 s left`. */
function describe({ file, doneBytes, totalBytes, bytesPerSecond }: { readonly file: string; readonly doneBytes: number; readonly totalBytes: number | undefined; readonly bytesPerSecond: number | undefined }): string {
  const rate = bytesPerSecond !== undefined && bytesPerSecond > 0 ? [`${formatBytes(bytesPerSecond)}/s`] : [];
  const left = totalBytes !== undefined && bytesPerSecond !== undefined && bytesPerSecond > 0 && doneBytes < totalBytes ? [`${formatSeconds((totalBytes - doneBytes) / bytesPerSecond)} left`] : [];
  const amount = totalBytes === undefined ? [formatBytes(doneBytes)] : [`${Math.floor((100 * doneBytes) / Math.max(1, totalBytes))} %`, `${formatBytes(doneBytes)} of ${formatBytes(totalBytes)}`];
  return [file, ...amount, ...rate, ...left].join("  ");
}
