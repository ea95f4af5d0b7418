/**
 * An append-only file of events, one JSON line each: what is appended is on the disk when `append` returns.
 * A last line that a crash tore is cut off on opening; any other damage is refused. What events mean is left to others.
 */
import { closeSync, fstatSync, fsyncSync, ftruncateSync, openSync, readSync } from "node:fs";
import { dirname } from "node:path";
import { trackResource } from "../base/disposal.ts";
import { FedtuneError, messageOf } from "../base/errors.ts";
import { fileError, withFileErrors } from "../base/file-errors.ts";
import { syncFolder, writeFully } from "./files.ts";
import { encodeLine, JOURNAL_START, parseLine, type JournalPosition } from "./journal-line.ts";
import { acquireLock } from "./lock.ts";

/** Checks a parsed event, such as a schema's `parse`; what it throws becomes the reason of a refusal. */
export type DecodeEvent<E> = (value: unknown) => E;

export interface JournalContent<E> {
  readonly events: readonly E[];
  /** Bytes of a torn last line; 0 in a whole file. */
  readonly tornBytes: number;
}

export interface Journal<E> extends Disposable {
  readonly path: string;
  /** The events that the file held when it was opened, and how many bytes of a torn last line were cut off. */
  readonly opened: JournalContent<E>;
  /** Appends an event; it is on the disk on return. Throws FedtuneError("resources") for a full disk and the like; what it wrote is taken back and the journal takes no more. */
  append(event: E): void;
  /** Appends an event without waiting for the disk: a power cut may lose it, the end of the process does not. Errors as `append`. */
  appendTick(event: E): void;
}

interface Scan<E> extends JournalContent<E> {
  readonly position: JournalPosition;
  /** Bytes of all whole lines. */
  readonly sizeBytes: number;
}

const NEWLINE = 0x0a;

function readAll(fd: number): Buffer {
  const bytes = Buffer.alloc(fstatSync(fd).size);
  let done = 0;
  while (done < bytes.byteLength) {
    const count = readSync(fd, bytes, done, bytes.byteLength - done, done);
    if (count === 0) break;
    done += count;
  }
  return bytes.subarray(0, done);
}

function scan<E>(path: string, bytes: Buffer, decode: DecodeEvent<E>): Scan<E> {
  const events: E[] = [];
  let position = JOURNAL_START;
  let start = 0;
  while (start < bytes.byteLength) {
    const end = bytes.indexOf(NEWLINE, start);
    if (end === -1) break;
    const where = `${path}:${position.sequence + 1}`;
    const parsed = parseLine(position, bytes.toString("utf8", start, end));
    if (!parsed.ok) {
      if (parsed.torn && end + 1 === bytes.byteLength) break;
      throw new FedtuneError("data", { where, expected: `line ${position.sequence + 1} of the journal as it was written`, got: parsed.got, remedy: "The journal is damaged: restore it from a copy, or start the run anew" });
    }
    try {
      events.push(decode(parsed.event));
    } catch (error) {
      throw new FedtuneError("data", { where, expected: "an event that this version of fedtune knows", got: messageOf(error).replaceAll(/\s+/g, " "), remedy: "Use the version of fedtune that wrote the run", cause: error });
    }
    position = parsed.after;
    start = end + 1;
  }
  return { events, position, sizeBytes: start, tornBytes: bytes.byteLength - start };
}

/**
 * The events of a journal that another process may be writing: nothing is locked or repaired, a torn last line is left out.
 * @throws FedtuneError("data") naming file and line for damage; ("resources") where the file cannot be read
 */
export function readJournal<E>(path: string, decode: DecodeEvent<E>): JournalContent<E> {
  const bytes = withFileErrors(path, "a journal to read", () => {
    const fd = openSync(path, "r");
    try {
      return readAll(fd);
    } finally {
      closeSync(fd);
    }
  });
  const { events, tornBytes } = scan(path, bytes, decode);
  return { events, tornBytes };
}

/**
 * Opens a journal for appending, or makes it; this process alone writes it until it is disposed of.
 * @throws FedtuneError("data") naming file and line for any damage but a torn last line; ("resources") where another process
 *   writes it, or the file cannot be written
 */
export function openJournal<E>(path: string, decode: DecodeEvent<E>): Journal<E> {
  using held = new DisposableStack();
  held.use(acquireLock(path));
  const fd = withFileErrors(path, "a journal to write", () => openSync(path, "a+"));
  held.defer(() => closeSync(fd));
  held.defer(trackResource("journal"));
  const { events, tornBytes, ...scanned } = scan(path, withFileErrors(path, "a journal to read", () => readAll(fd)), decode);
  withFileErrors(path, "a journal to write", () => {
    if (tornBytes > 0) {
      ftruncateSync(fd, scanned.sizeBytes);
      fsyncSync(fd);
    }
    // A new file's name is durable once its folder is flushed.
    if (scanned.sizeBytes === 0) syncFolder(dirname(path));
  });
  let { position, sizeBytes } = scanned;
  let unusable: unknown;
  const resources = held.move();
  const write = (event: E, flush: boolean): void => {
    if (resources.disposed) throw new Error(`${path}: the journal is closed`);
    if (unusable !== undefined) throw fileError(unusable, path, "a journal to append to");
    const json = JSON.stringify(event);
    // An event that could not be read back would end every later resume: better a bug report now.
    decode(JSON.parse(json));
    const { line, after } = encodeLine(position, json);
    const bytes = Buffer.from(line);
    try {
      writeFully(fd, bytes);
      if (flush) fsyncSync(fd);
    } catch (error) {
      // After a failed flush nobody knows what the disk holds: only the next opening can tell.
      unusable = error;
      try {
        ftruncateSync(fd, sizeBytes);
      } catch {
        // The file may end in half a line, which the next opening repairs.
      }
      throw fileError(error, path, "a journal to append to");
    }
    position = after;
    sizeBytes += bytes.byteLength;
  };
  return {
    path,
    opened: { events, tornBytes },
    append: (event) => write(event, true),
    appendTick: (event) => write(event, false),
    [Symbol.dispose]: () => resources.dispose(),
  };
}
