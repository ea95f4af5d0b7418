/**
 * SHA-256 of large files, remembered in the cache: a checkpoint is read whole once, not at every start. A file counts as
 * unchanged while device, inode, size and the times of its last change and of its last change of status are the same; the
 * last of these no program can set back.
 */
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, realpathSync, statSync } from "node:fs";
import { open } from "node:fs/promises";
import { dirname, join } from "node:path";
import { sha256 } from "../base/hash.ts";
import { withFileErrors } from "../base/file-errors.ts";
import { cacheFolder } from "./cache.ts";
import { writeFileAtomic } from "./files.ts";

/** A file written so shortly before it is hashed could be written again within one tick of its clock: it is not remembered. */
const SETTLED_MS = 3000;

interface FileState {
  /** Text that changes when the file does. */
  readonly text: string;
  readonly changedMs: number;
}

function stateOf(path: string): FileState {
  const { dev, ino, size, mtimeNs, ctimeNs } = statSync(path, { bigint: true });
  return { text: [path, dev, ino, size, mtimeNs, ctimeNs].join("\n"), changedMs: Number((mtimeNs > ctimeNs ? mtimeNs : ctimeNs) / 1_000_000n) };
}

/** What is remembered of a state: its hash under a checksum of both; undefined where there is nothing or it is damaged. */
function recall(remembered: string, state: string): string | undefined {
  try {
    const [, hash, check] = /^([0-9a-f]{64}) ([0-9a-f]{64})\n$/.exec(readFileSync(remembered, "utf8")) ?? [];
    return hash !== undefined && check === sha256(state, hash) ? hash : undefined;
  } catch {
    return undefined;
  }
}

export interface FileHashOptions {
  /** Where hashes are remembered; default: in `cacheFolder()`. */
  readonly folder?: string;
  readonly now?: () => Date;
}

/**
 * Lower-case hexadecimal SHA-256 of a file's bytes.
 * @throws FedtuneError("resources") where the file cannot be read
 */
export async function hashFile(path: string, { folder = join(cacheFolder(), "hashes"), now = () => new Date() }: FileHashOptions = {}): Promise<string> {
  const [real, before] = withFileErrors(path, "a file to read", () => {
    const found = realpathSync(path);
    return [found, stateOf(found)];
  });
  const remembered = join(folder, sha256(before.text));
  const known = recall(remembered, before.text);
  if (known !== undefined) return known;
  const begunMs = now().getTime();
  const hash = createHash("sha256");
  {
    // One buffer: a stream's would wait for the garbage collector, tens of megabytes of them.
    const buffer = new Uint8Array(1 << 20);
    await using file = await open(real);
    for (;;) {
      const { bytesRead } = await file.read(buffer, 0, buffer.length);
      if (bytesRead === 0) break;
      hash.update(buffer.subarray(0, bytesRead));
    }
  }
  const value = hash.digest("hex");
  if (begunMs - before.changedMs > SETTLED_MS && stateOf(real).text === before.text) {
    try {
      mkdirSync(dirname(remembered), { recursive: true });
      writeFileAtomic(remembered, `${value} ${sha256(before.text, value)}\n`);
    } catch {
      // A cache that cannot be written costs time at the next start, and nothing else.
    }
  }
  return value;
}
