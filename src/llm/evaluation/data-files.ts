/** Where a benchmark's files are: the one place that knows. */
import { existsSync } from "node:fs";
import { join, resolve } from "node:path";
import { FedtuneError } from "../../core/base/errors.ts";
import type { RawRecord } from "../data/records.ts";
import { dataSchema } from "../data/settings.ts";
import { readRecords } from "../data/sources/read.ts";
import type { BenchmarkContext } from "./benchmark.ts";

/** Names a folder with data sets that are already there. */
const FOLDER = "FEDTUNE_DATA";

/**
 * The path of a benchmark's file for `readRows`: the one given as it stands, else `file` in the folder of FEDTUNE_DATA.
 * @throws FedtuneError("data") that says where it was looked for
 */
export async function findDataFile(path: string | undefined, file: string, { baseFolder }: Pick<BenchmarkContext, "baseFolder">): Promise<string> {
  if (path !== undefined) return path;
  const folder = process.env[FOLDER] ?? "";
  const found = resolve(baseFolder, join(folder, file));
  if (folder !== "" && existsSync(found)) return found;
  throw new FedtuneError("data", { where: file, expected: `the file in the folder that ${FOLDER} names`, got: folder === "" ? `no ${FOLDER}` : `no such file in ${folder}`, remedy: `Set ${FOLDER} to a folder that holds ${file}, or give the file itself by path=…` });
}

/** All rows of a file, whatever its format; the path is relative to `baseFolder`. Throws FedtuneError("data") naming file and line. */
export async function readRows(path: string, { baseFolder }: Pick<BenchmarkContext, "baseFolder">): Promise<readonly RawRecord[]> {
  return (await readRecords(dataSchema.parse({ path }), baseFolder)).records;
}
