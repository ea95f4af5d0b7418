/** A file with one JSON object a line; empty lines are skipped. */
import { FedtuneError, messageOf } from "../../../core/base/errors.ts";
import { describeValue, isRow, type RawRecord } from "../records.ts";
import { decodeText, type FileFormat } from "./source.ts";

/** What to do about a line that is not JSON: the usual mistakes by name. */
function remedyFor(line: string, at: number): string {
  if (at === 1 && line.startsWith("[")) return "It looks like a JSON list: set data.format to json";
  if (/,\s*\}?\s*$/.test(line)) return "Remove the comma at the end";
  if (/^\{\s*'/.test(line)) return "Write names and texts in double quotes";
  if (/\b(NaN|None|True|False|Infinity)\b/.test(line)) return "Write null, true and false as JSON has them";
  if (!line.endsWith("}")) return "The line seems cut off: an object must stand on one line, line breaks in texts written as \\n";
  return "Mend or remove the line";
}

export const jsonl: FileFormat = {
  endings: [".jsonl", ".ndjson"],
  async read(bytes, path) {
    const records: RawRecord[] = [];
    for (const [i, raw] of decodeText(bytes, path).split("\n").entries()) {
      const line = raw.trim();
      if (line === "") continue;
      let value: unknown;
      try {
        value = JSON.parse(line);
      } catch (cause) {
        throw new FedtuneError("data", { where: `${path}:${i + 1}`, expected: "a JSON object", got: messageOf(cause), remedy: remedyFor(line, i + 1), details: { file: path, line: i + 1 }, cause });
      }
      if (!isRow(value)) {
        const remedy = i === 0 && Array.isArray(value) ? remedyFor(line, 1) : "Mend or remove the line";
        throw new FedtuneError("data", { where: `${path}:${i + 1}`, expected: "a JSON object", got: describeValue(value), remedy, details: { file: path, line: i + 1 } });
      }
      records.push({ fields: value, origin: { file: path, at: i + 1, unit: "line" } });
    }
    return records;
  },
};
