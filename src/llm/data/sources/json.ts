/** A JSON file: a list of objects, or an object whose `data` is one. */
import { FedtuneError, messageOf } from "../../../core/base/errors.ts";
import { describeValue, isRow, type RawRecord } from "../records.ts";
import { decodeText, type FileFormat } from "./source.ts";

function looksLikeJsonLines(text: string): boolean {
  const [first = "", second = ""] = text.split("\n", 2);
  return first.trim().endsWith("}") && second.trim().startsWith("{");
}

function parse(text: string, path: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    const position = /position (\d+)/.exec(messageOf(cause))?.[1];
    const line = position === undefined ? "" : `:${text.slice(0, Number(position)).split("\n").length}`;
    const remedy = looksLikeJsonLines(text) ? "It looks like JSON lines: set data.format to jsonl" : "Mend the file at that place";
    throw new FedtuneError("data", { where: `${path}${line}`, expected: "JSON", got: messageOf(cause), remedy, cause });
  }
}

export const json: FileFormat = {
  endings: [".json"],
  async read(bytes, path) {
    const value = parse(decodeText(bytes, path), path);
    const rows = isRow(value) ? value["data"] : value;
    if (!Array.isArray(rows)) {
      const got = isRow(value) ? `an object with ${Object.keys(value).slice(0, 8).join(", ") || "no fields"}` : describeValue(value);
      throw new FedtuneError("data", { where: path, expected: "a list of objects, or an object whose `data` is one", got });
    }
    return rows.map((row: unknown, i): RawRecord => {
      if (!isRow(row)) throw new FedtuneError("data", { where: `${path}, row ${i + 1}`, expected: "an object", got: describeValue(row) });
      return { fields: row, origin: { file: path, at: i + 1, unit: "row" } };
    });
  },
};
