/**
 * The runs of contests, kept on disk one JSON line each, so that a contest that was cut off goes on where it stopped.
 * A run counts only for what made it: its key is the command, the code on both sides and the machine.
 */
import { closeSync, existsSync, fsyncSync, mkdirSync, openSync, readFileSync, writeSync } from "node:fs";
import { dirname } from "node:path";
import { z } from "zod";

const lineSchema = z.object({ key: z.string(), what: z.string(), contestant: z.string(), turn: z.int().min(0), at: z.iso.datetime(), result: z.record(z.string(), z.unknown()) });

/** One run of one contestant; `turn` counts from 1, 0 is the short run that decides who takes part. */
export type RecordedRun = z.infer<typeof lineSchema>;

export interface RunRecord {
  /** The run of a key in a turn, where it was made before; the latest where there are several. */
  find(key: string, turn: number): RecordedRun | undefined;
  /** Keeps a run; it is on the disk when this returns. */
  keep(run: RecordedRun): void;
}

/** Lines that can be read; the last one may be half written, and lines of other versions of this file are passed over. */
function readLines(path: string): readonly RecordedRun[] {
  if (!existsSync(path)) return [];
  return readFileSync(path, "utf8").split("\n").flatMap((line) => {
    try {
      const { success, data } = lineSchema.safeParse(JSON.parse(line));
      return success ? [data] : [];
    } catch {
      return [];
    }
  });
}

const placeOf = (key: string, turn: number): string => `${key} ${turn}`;

/** Opens the record of a file, which is made when the first run is kept. Throws Node's errors where it cannot be read or written. */
export function openRecord(path: string): RunRecord {
  const runs = new Map(readLines(path).map((run) => [placeOf(run.key, run.turn), run]));
  return {
    find: (key, turn) => runs.get(placeOf(key, turn)),
    keep(run) {
      mkdirSync(dirname(path), { recursive: true });
      const torn = existsSync(path) && !readFileSync(path, "utf8").endsWith("\n");
      const file = openSync(path, "a");
      try {
        writeSync(file, `${torn ? "\n" : ""}${JSON.stringify(run)}\n`);
        fsyncSync(file);
      } finally {
        closeSync(file);
      }
      runs.set(placeOf(run.key, run.turn), run);
    },
  };
}
