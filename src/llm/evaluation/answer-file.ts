/** The file of a benchmark's answers: one JSON line for each question, written as it is judged. */
import { closeSync, openSync, writeSync } from "node:fs";
import { join } from "node:path";
import { withFileErrors } from "../../core/base/file-errors.ts";
import { ensureWritableFolder } from "../../core/store/files.ts";
import type { AskedQuestion } from "./ask.ts";

/** Throws FedtuneError("resources") naming the path where it cannot be written. */
export class AnswerFile implements Disposable {
  readonly path: string;
  readonly #fd: number;

  constructor(folder: string, benchmark: string) {
    ensureWritableFolder(folder);
    this.path = join(folder, `${benchmark}.jsonl`);
    this.#fd = withFileErrors(this.path, "a file to write", () => openSync(this.path, "w"));
  }

  add({ id, facts, prompt, outputs, judgement }: AskedQuestion): void {
    const { parsed, scores, skipped } = judgement;
    const line = JSON.stringify({ id, ...facts, prompt, outputs, parsed, scores, ...(skipped === undefined ? {} : { skipped }) });
    withFileErrors(this.path, "a file to write", () => writeSync(this.#fd, `${line}\n`));
  }

  [Symbol.dispose](): void {
    closeSync(this.#fd);
  }
}
