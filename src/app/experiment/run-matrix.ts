/** Works a matrix off, cell by cell in one process: what an equal plan has done already is left alone, what was stopped goes on. */
import { existsSync } from "node:fs";
import { FedtuneError, messageOf, type ErrorCode } from "../../core/base/errors.ts";
import type { RunEvent } from "../../federation/rounds/events.ts";
import { streamEvents } from "./event-stream.ts";
import { indexRuns } from "./find-run.ts";
import { matrixFolder, relativeRun, writeCells, type CellRecord } from "./matrix-folder.ts";
import type { Matrix } from "./matrix.ts";
import { runUnlessDone, type RunOptions } from "./run.ts";

/** What happens in a matrix: its cells one after the other, and what happens in each. */
export type MatrixEvent =
  | { readonly type: "cell-started"; readonly at: string; readonly cell: number; readonly cells: number; readonly label: string }
  | { readonly type: "cell-event"; readonly cell: number; readonly folder: string; readonly event: RunEvent }
  | { readonly type: "cell-finished"; readonly at: string; readonly cell: number; readonly cells: number; readonly label: string; readonly folder: string; /** Whether an equal run had been there. */ readonly reused: boolean }
  | { readonly type: "cell-failed"; readonly at: string; readonly cell: number; readonly cells: number; readonly label: string; readonly code: ErrorCode; readonly reason: string };

/** A matrix as it goes on: iterate it to let it go on. */
export interface MatrixRun extends AsyncIterable<MatrixEvent> {
  /** The matrix's folder; it is made when the first cell is begun. */
  readonly folder: string;
}

/**
 * Runs every cell of a matrix that no equal run has done; nothing happens before iteration starts. A cell that fails does not stop the others.
 * @throws (while iterating) FedtuneError("interrupted") once the signal is aborted; at the end the first failed cell's error
 */
export function runMatrix(matrix: Matrix, options: RunOptions = {}): MatrixRun {
  const clock = options.clock ?? (() => new Date());
  const folder = matrixFolder(matrix);
  const events = streamEvents<MatrixEvent>(async (emit, signal) => {
    const now = (): string => clock().toISOString();
    const index = indexRuns();
    const records = matrix.cells.map(({ label, values, experiment }): CellRecord => ({ label, values: { ...values }, state: "waiting", config: experiment.config }));
    const note = (cell: number, change: Partial<CellRecord>): void => {
      records[cell] = { ...records[cell], ...change } as CellRecord;
      writeCells(folder, { version: 1, name: matrix.name, axes: [...matrix.axes], cells: records });
    };
    const failures: { readonly label: string; readonly error: FedtuneError }[] = [];
    for (const [cell, { label, experiment }] of matrix.cells.entries()) {
      const place = { cell, cells: matrix.cells.length, label };
      emit({ type: "cell-started", at: now(), ...place });
      const run = runUnlessDone(experiment, index, { ...options, signal });
      let reused = true;
      try {
        for await (const event of run) {
          if (event.type !== "progress" && event.type !== "note") reused = false;
          if (records[cell]?.folder === undefined && existsSync(run.folder)) note(cell, { state: "unfinished", folder: relativeRun(folder, run.folder) });
          emit({ type: "cell-event", cell, folder: run.folder, event });
        }
        note(cell, { state: "finished", folder: relativeRun(folder, run.folder) });
        emit({ type: "cell-finished", at: now(), ...place, folder: run.folder, reused });
      } catch (error) {
        if (signal.aborted || !(error instanceof FedtuneError)) throw error;
        failures.push({ label, error });
        note(cell, { state: "failed", reason: messageOf(error), ...(existsSync(run.folder) && { folder: relativeRun(folder, run.folder) }) });
        emit({ type: "cell-failed", at: now(), ...place, code: error.code, reason: error.message });
      }
    }
    const [first] = failures;
    if (first === undefined) return;
    throw new FedtuneError(first.error.code, { where: `${matrix.name}, ${first.label}`, expected: "every cell of the matrix to be done", got: `${failures.length} of ${matrix.cells.length} that failed, this one by: ${first.error.message.replace(/\.$/, "")}`, remedy: "Mend it and run the same again: finished cells are kept", cause: first.error });
  }, options.signal);
  return { folder, [Symbol.asyncIterator]: () => events };
}
