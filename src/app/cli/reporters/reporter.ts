/** What every reporter of a run's events can do: progress in place, plain lines, JSON lines. */
import type { RunEvent } from "../api.ts";

export interface Reporter extends Disposable {
  /** Takes note of what happened before this process took the run up, without showing it. */
  readonly catchUp: (events: Iterable<RunEvent>) => void;
  /** Shows one event. */
  readonly add: (event: RunEvent) => void;
  /** Says that the run is about to stop, by a signal. */
  readonly stopping: () => void;
}
