/** What the rounds need of a run's storage. Where it lies on the disk is left to whoever opens the run. */
import type { NamedTensors } from "../../core/base/tensor.ts";
import type { JournalEvent, Tick } from "./events.ts";

export interface RunStore {
  /** Makes a transition durable before it returns. Throws FedtuneError("resources") where it cannot be written. */
  append(event: JournalEvent): void;
  /** Notes a tick; the last ones may be lost. */
  tick(tick: Tick): void;
  /** Stores tensors durably and returns the SHA-256 of their bytes. */
  putTensors(tensors: NamedTensors<"float32">): string;
  /** Throws FedtuneError("data") where the blob is missing or damaged. */
  getTensors(hash: string): NamedTensors<"float32">;
}
