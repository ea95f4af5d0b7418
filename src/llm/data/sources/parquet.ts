/** A Parquet file, by hyparquet; nested lists and objects come out as such. */
import { parquetReadObjects } from "hyparquet";
import { compressors } from "hyparquet-compressors";
import { FedtuneError, messageOf } from "../../../core/base/errors.ts";
import type { RawRecord } from "../records.ts";
import type { FileFormat } from "./source.ts";

/** 64-bit integers as numbers where they fit and text where they do not; dates as ISO text: what JSON would have held. */
function plain(value: unknown): unknown {
  if (typeof value === "bigint") return Number.isSafeInteger(Number(value)) ? Number(value) : value.toString();
  if (value instanceof Date) return value.toISOString();
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value === "object" && value !== null && Object.getPrototypeOf(value) === Object.prototype) {
    return Object.fromEntries(Object.entries(value).map(([name, v]) => [name, plain(v)]));
  }
  return value;
}

export const parquet: FileFormat = {
  endings: [".parquet"],
  async read(bytes, path, columns) {
    const buffer = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength);
    const file = { byteLength: buffer.byteLength, slice: (start: number, end?: number) => buffer.slice(start, end) as ArrayBuffer };
    try {
      const rows = await parquetReadObjects({ file, compressors, ...(columns === undefined ? {} : { columns: [...columns] }) });
      return rows.map((row, i): RawRecord => ({
        fields: Object.fromEntries(Object.entries(row).map(([name, value]) => [name, plain(value)])),
        origin: { file: path, at: i + 1, unit: "row" },
      }));
    } catch (cause) {
      throw new FedtuneError("data", { where: path, expected: "a Parquet file", got: messageOf(cause), remedy: "Fetch or write the file again", cause });
    }
  },
};
