/** `metrics.jsonl`: ticks as plain JSON lines, for people's own tools too. Its tail may be lost or torn; what does not parse is left out. */
import { closeSync, openSync, readFileSync, writeSync } from "node:fs";
import { fileErrorCode, withFileErrors } from "../../core/base/file-errors.ts";
import { tickSchema, type Tick } from "../../federation/rounds/events.ts";

export interface MetricsFile extends Disposable {
  /** Appends a tick without waiting for the disk. Throws FedtuneError("resources"). */
  write(tick: Tick): void;
}

/** Opens a metrics file for appending, or makes it. A torn last line is ended first, so that the next one stands alone. */
export function openMetrics(path: string): MetricsFile {
  const torn = readText(path).match(/[^\n]$/) !== null;
  const fd = withFileErrors(path, "a file to write", () => openSync(path, "a"));
  const append = (text: string): number => withFileErrors(path, "a file to append to", () => writeSync(fd, text));
  if (torn) append("\n");
  return { write: (tick) => void append(`${JSON.stringify(tick)}\n`), [Symbol.dispose]: () => closeSync(fd) };
}

/** All ticks of a metrics file that can be read; none where there is no file. */
export function readMetrics(path: string): readonly Tick[] {
  return readText(path).split("\n").flatMap(parseTick);
}

function parseTick(line: string): readonly Tick[] {
  try {
    const parsed = tickSchema.safeParse(JSON.parse(line));
    return parsed.success ? [parsed.data] : [];
  } catch {
    return [];
  }
}

function readText(path: string): string {
  try {
    return withFileErrors(path, "a metrics file to read", () => readFileSync(path, "utf8"));
  } catch (error) {
    if (error instanceof Error && fileErrorCode(error.cause) === "ENOENT") return "";
    throw error;
  }
}
