/** How tasks reach clients: the one thing that a transport implements. */
import type { Reply, Task } from "./messages.ts";

export interface SendOptions {
  /** Told as soon as a client's reply is there, in whatever order. */
  readonly onReply?: (reply: Reply) => void;
  /** Aborting it rejects with an `interrupted` FedtuneError. */
  readonly signal?: AbortSignal;
}

/**
 * Carries the tasks of one round to its clients. The whole round is handed over at once, so that a transport may group clients
 * (a simulation trains several in one pass) or send each apart (a network does).
 */
export interface Transport extends AsyncDisposable {
  /** One reply per task, in the order of the tasks. Never rejects for a client's fault: that is a failure reply. */
  send(tasks: readonly Task[], options: SendOptions): Promise<readonly Reply[]>;
}

/** Does the tasks of one group of clients side by side; one reply per task, in their order. Rejects as `Transport.send`. */
export type GroupWorker = (tasks: readonly Task[], signal: AbortSignal | undefined) => Promise<readonly Reply[]>;
