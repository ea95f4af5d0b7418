/** A matrix's folder: which experiments it is made of, and which run each of them is. Their figures are in the runs themselves. */
import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { basename, join, relative, resolve } from "node:path";
import { z } from "zod";
import { FedtuneError, messageOf } from "../../core/base/errors.ts";
import { withFileErrors } from "../../core/base/file-errors.ts";
import { ensureWritableFolder, writeFileAtomic } from "../../core/store/files.ts";
import { matrixHash, type Matrix } from "./matrix.ts";
import { readRun, type RunRecord } from "./record.ts";
import { experimentSchema } from "./schema.ts";

/** The list of cells in a matrix's folder. */
const CELLS = "cells.json";

const cellSchema = z.strictObject({
  label: z.string(),
  /** Value of each varied field. */
  values: z.record(z.string(), z.unknown()),
  state: z.enum(["waiting", "unfinished", "finished", "failed"]),
  /** The run's folder, relative to the matrix's; absent before it is begun. */
  folder: z.string().optional(),
  /** Why it failed. */
  reason: z.string().optional(),
  config: experimentSchema,
});
const cellsSchema = z.strictObject({ version: z.literal(1), name: z.string(), axes: z.array(z.string()), cells: z.array(cellSchema) });
export type CellRecord = z.infer<typeof cellSchema>;
export type MatrixRecord = z.infer<typeof cellsSchema>;

/** Where a matrix's folder is: beside its runs, named by its experiments, so that the same matrix finds it again. */
export function matrixFolder(matrix: Matrix): string {
  return join(matrix.cells[0]?.experiment.config.output ?? "runs", `${matrix.name}-matrix-${matrixHash(matrix).slice(0, 8)}`);
}

/** Writes the list, whole or not at all. Throws FedtuneError("resources"). */
export function writeCells(folder: string, record: MatrixRecord): void {
  ensureWritableFolder(resolve(folder, ".."));
  withFileErrors(folder, "a folder to make", () => mkdirSync(folder, { recursive: true }));
  writeFileAtomic(join(folder, CELLS), `${JSON.stringify(record, null, 2)}\n`);
}

/** Whether a folder is a matrix's. */
export function isMatrixFolder(folder: string): boolean {
  return existsSync(join(folder, CELLS));
}

/** Reads the list. Throws FedtuneError("config") where the folder holds none, or one that was changed to something else. */
export function readCells(folder: string): MatrixRecord {
  const path = join(folder, CELLS);
  let raw: unknown;
  try {
    raw = JSON.parse(withFileErrors(path, "a matrix's list of cells", () => readFileSync(path, "utf8")));
  } catch (error) {
    throw new FedtuneError("config", { where: path, expected: "a matrix's list of cells", got: messageOf(error), remedy: "Run its config again: what is done is kept", cause: error });
  }
  const parsed = cellsSchema.safeParse(raw);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw new FedtuneError("config", { where: `${path}: ${issue?.path.join(".") ?? ""}`, expected: "a matrix's list of cells as fedtune writes it", got: issue?.message ?? "something else", remedy: "Run its config again: what is done is kept" });
}

/** The experiments of a matrix that was begun, as they were then. */
export function readMatrix(folder: string): Matrix {
  const { name, axes, cells } = readCells(folder);
  return { name, axes, cells: cells.map(({ label, values, config }) => ({ label, values, experiment: { config, ...(label !== "" && { label }) } })) };
}

/**
 * What a folder tells: the runs of a matrix as far as they are begun, or the one run that it is.
 * @throws FedtuneError as `readRun` and `readCells`
 */
export function readRuns(folder: string): readonly RunRecord[] {
  if (!isMatrixFolder(folder)) return [readRun(folder)];
  return readCells(folder).cells.flatMap((cell) => (cell.folder === undefined ? [] : [readRun(resolve(folder, cell.folder))]));
}

/** A run's folder as a matrix's list has it. */
export function relativeRun(folder: string, run: string): string {
  return relative(folder, run) || basename(run);
}
