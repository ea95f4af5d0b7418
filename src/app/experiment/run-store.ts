/** The storage of one run: its journal, its metrics and its blobs, in the run's folder. Layout of the folder is in `run-folder.ts`. */
import { join } from "node:path";
import { FedtuneError } from "../../core/base/errors.ts";
import type { NamedTensors, Tensor } from "../../core/base/tensor.ts";
import { openBlobs } from "../../core/store/blobs.ts";
import { openJournal } from "../../core/store/journal.ts";
import { journalEventSchema, type JournalEvent, type RunEvent } from "../../federation/rounds/events.ts";
import type { RunStore } from "../../federation/rounds/store.ts";
import { openMetrics } from "./metrics-file.ts";
import { BLOBS, JOURNAL, METRICS } from "./run-folder.ts";

export interface OpenRunStore extends RunStore, Disposable {
  /** What the journal held when it was opened. */
  readonly events: readonly JournalEvent[];
}

/**
 * Opens a run's storage; this process alone writes it until it is disposed of. `onEvent` sees each event once it is stored.
 * @throws FedtuneError("data") for a damaged journal; ("resources") where it is locked or cannot be written
 */
export function openRunStore(folder: string, onEvent: (event: RunEvent) => void = () => {}): OpenRunStore {
  using held = new DisposableStack();
  const journal = held.use(openJournal<JournalEvent>(join(folder, JOURNAL), (value) => journalEventSchema.parse(value)));
  const metrics = held.use(openMetrics(join(folder, METRICS)));
  const blobs = openBlobs(join(folder, BLOBS));
  const resources = held.move();
  return {
    events: journal.opened.events,
    append: (event) => {
      journal.append(event);
      onEvent(event);
    },
    tick: (tick) => {
      metrics.write(tick);
      onEvent(tick);
    },
    putTensors: (tensors) => blobs.putTensors(tensors),
    getTensors: (hash) => float32Only(blobs.getTensors(hash), `blob ${hash.slice(0, 12)}`),
    [Symbol.dispose]: () => resources.dispose(),
  };
}

function float32Only(tensors: NamedTensors, where: string): NamedTensors<"float32"> {
  const out = new Map<string, Tensor<"float32">>();
  for (const [name, { dtype, shape, data }] of tensors) {
    if (dtype !== "float32" || !(data instanceof Float32Array)) throw new FedtuneError("data", { where, expected: "float32 tensors", got: `${name} in ${dtype}`, remedy: "Start the run anew" });
    out.set(name, { dtype, shape, data });
  }
  return out;
}
