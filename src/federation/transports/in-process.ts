/**
 * Clients in this process: a round's tasks are cut into groups that train side by side, and workers take the groups in turn.
 * Groups depend on the tasks' order and on `groupSize` alone, so the number of workers changes nothing in the result.
 */
import { chunk, takeInTurn } from "../protocol/take-in-turn.ts";
import type { GroupWorker, Transport } from "../protocol/transport.ts";

/** A transport over one or more workers in this process. Its owner disposes of the workers. */
export function createInProcessTransport(workers: readonly GroupWorker[], groupSize: number): Transport {
  return {
    async send(tasks, { onReply, signal }) {
      const answered = await takeInTurn(workers, chunk(tasks, groupSize), {
        signal,
        work: async (worker, group) => {
          const replies = await worker(group, signal);
          for (const reply of replies) onReply?.(reply);
          return replies;
        },
      });
      return answered.flat();
    },
    async [Symbol.asyncDispose]() {},
  };
}
