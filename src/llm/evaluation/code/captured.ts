/** The beginning and the end of a stream that may be endless. */

/** Kept of each end. */
const KEPT_BYTES = 32 * 1024;

/** Takes chunks and keeps the first and the last 32 KiB; `total` counts all bytes. */
export class Captured {
  #head = Buffer.alloc(0);
  #tail = Buffer.alloc(0);
  total = 0;

  add(chunk: Buffer): void {
    this.total += chunk.length;
    const room = KEPT_BYTES - this.#head.length;
    this.#head = Buffer.concat([this.#head, chunk.subarray(0, Math.max(room, 0))]);
    const rest = chunk.subarray(Math.max(room, 0));
    this.#tail = Buffer.concat([this.#tail, rest]).subarray(-KEPT_BYTES);
  }

  /** What was kept, with a line that says how many bytes were left out. */
  text(): string {
    const left = this.total - this.#head.length - this.#tail.length;
    const between = left > 0 ? Buffer.from(`\n… ${left} bytes left out …\n`) : Buffer.alloc(0);
    return Buffer.concat([this.#head, between, this.#tail]).toString("utf8");
  }
}
