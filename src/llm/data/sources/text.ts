/**
 * Plain text: one row for each block between blank lines, in the field `text`. No ending stands for it, so that notes beside the
 * data are not taken for rows: data.format or the catalog names it.
 */
import type { RawRecord } from "../records.ts";
import { decodeText, type FileFormat } from "./source.ts";

export const text: FileFormat = {
  endings: [],
  async read(bytes, path) {
    const records: RawRecord[] = [];
    let block: string[] = [];
    const lines = decodeText(bytes, path).split(/\r?\n/);
    for (const [i, line] of [...lines, ""].entries()) {
      if (line.trim() !== "") block.push(line);
      else if (block.length > 0) {
        records.push({ fields: { text: block.join("\n") }, origin: { file: path, at: i + 1 - block.length, unit: "line" } });
        block = [];
      }
    }
    return records;
  },
};
