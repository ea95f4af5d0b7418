/** A comma-separated file (tabs where it ends in .tsv) whose first row names the fields, by csv-parse. */
import { CsvError, parse } from "csv-parse/sync";
import { FedtuneError, messageOf } from "../../../core/base/errors.ts";
import type { RawRecord } from "../records.ts";
import { decodeText, type FileFormat } from "./source.ts";

function checkHeader(header: readonly string[], path: string): string[] {
  const names = header.map((name) => name.trim());
  const twice = names.find((name, i) => names.indexOf(name) !== i);
  if (twice !== undefined) throw new FedtuneError("data", { where: `${path}:1`, expected: "a header that names each field once", got: `\`${twice}\` twice`, remedy: "Rename one of them" });
  return names;
}

export const csv: FileFormat = {
  endings: [".csv", ".tsv"],
  async read(bytes, path) {
    const text = decodeText(bytes, path);
    try {
      // With `columns` and `info` csv-parse yields these objects; its declaration for the pair is wider.
      const rows = parse(text, {
        columns: (header: string[]) => checkHeader(header, path),
        info: true,
        skip_empty_lines: true,
        delimiter: path.toLowerCase().endsWith(".tsv") ? "\t" : ",",
      }) as unknown as readonly { readonly info: { readonly lines: number }; readonly record: Readonly<Record<string, string>> }[];
      // `lines` is the row's last line; a row with quoted line breaks is found by it all the same.
      return rows.map(({ info, record }): RawRecord => ({ fields: record, origin: { file: path, at: info.lines, unit: "line" } }));
    } catch (cause) {
      if (!(cause instanceof CsvError)) throw cause;
      const line = /line (\d+)/.exec(cause.message)?.[1] ?? "1";
      throw new FedtuneError("data", { where: `${path}:${line}`, expected: "as many fields as the header names, quoted where they hold a comma or quote", got: messageOf(cause), remedy: "Mend the row", cause });
    }
  },
};
