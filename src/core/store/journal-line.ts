/**
 * One line of a journal: a sequence number, a checksum and an event as JSON. Each checksum covers the one before it, so that
 * a changed, lost or moved line is seen. Files are left to `journal.ts`.
 */
import { sha256 } from "../base/hash.ts";

/** Where a journal stands: lines so far, and the checksum of the last (empty before the first). */
export interface JournalPosition {
  readonly sequence: number;
  readonly checksum: string;
}

export const JOURNAL_START: JournalPosition = { sequence: 0, checksum: "" };

const LINE = /^\{"n":(\d+),"sum":"([0-9a-f]{12})","event":(.*)\}$/s;

function checksumOf(before: JournalPosition, eventJson: string): string {
  return sha256(`${before.checksum}\n${before.sequence + 1}\n${eventJson}`).slice(0, 12);
}

/** The line after `before` that holds an event's JSON, with its newline; and where the journal stands then. */
export function encodeLine(before: JournalPosition, eventJson: string): { line: string; after: JournalPosition } {
  const after = { sequence: before.sequence + 1, checksum: checksumOf(before, eventJson) };
  return { line: `{"n":${after.sequence},"sum":"${after.checksum}","event":${eventJson}}\n`, after };
}

export type ParsedLine =
  | { readonly ok: true; readonly event: unknown; readonly after: JournalPosition }
  /** `torn`: parts of the line never reached the disk, which a power cut leaves as NUL bytes. */
  | { readonly ok: false; readonly torn: boolean; readonly got: string };

/** Reads a line (without its newline) that follows `before`. */
export function parseLine(before: JournalPosition, line: string): ParsedLine {
  let event: unknown;
  const [, number, checksum, eventJson] = LINE.exec(line) ?? [];
  try {
    event = eventJson === undefined ? JSON.parse(line) : JSON.parse(eventJson);
  } catch {
    return { ok: false, torn: line.includes("\0"), got: line === "" ? "an empty line" : "text that is not JSON" };
  }
  if (eventJson === undefined || checksum === undefined) return { ok: false, torn: false, got: "JSON of another form" };
  if (Number(number) !== before.sequence + 1) return { ok: false, torn: false, got: `line number ${number}` };
  if (checksum !== checksumOf(before, eventJson)) return { ok: false, torn: false, got: "a line that was changed" };
  return { ok: true, event, after: { sequence: before.sequence + 1, checksum } };
}
