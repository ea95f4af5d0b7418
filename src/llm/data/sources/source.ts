/** What a file format is to the rest: a name, file endings, and a way from bytes to rows. */
import { FedtuneError, messageOf } from "../../../core/base/errors.ts";
import type { RawRecord } from "../records.ts";

export interface FileFormat {
  /** File endings, lower case with the dot. */
  readonly endings: readonly string[];
  /**
   * Rows of one file; `path` is for messages. `columns` are the fields that are wanted, where a format can leave others unread.
   * Throws FedtuneError "data" with file and place for malformed content.
   */
  read(bytes: Uint8Array, path: string, columns?: readonly string[]): Promise<readonly RawRecord[]>;
}

/** Bytes as UTF-8 text without a byte order mark. Throws FedtuneError "data" for bytes that are not UTF-8. */
export function decodeText(bytes: Uint8Array, path: string): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new FedtuneError("data", { where: path, expected: "UTF-8 text", got: messageOf(cause), remedy: "Save the file as UTF-8", cause });
  }
}
