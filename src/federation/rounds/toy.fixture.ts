/** A small federation over the arithmetic trainer, for tests; run as a program (`node toy.fixture.ts FOLDER CALLS`) it kills itself after so many calls of its store. */
import { openRunStore } from "../../app/experiment/run-store.ts";
import { sha256 } from "../../core/base/hash.ts";
import { bytesOf, type NamedTensors } from "../../core/base/tensor.ts";
import { createInProcessTransport } from "../transports/in-process.ts";
import { fedavg } from "../strategies/fedavg.ts";
import { createArithmeticTrainer, type ArithmeticOptions } from "./arithmetic.fixture.ts";
import { createGroupWorker, type ClientMemory } from "./client.ts";
import { runFederations, type Coordination, type Federation, type RoundsPlan } from "./coordinator.ts";
import { evaluateAdapters } from "./evaluation.ts";
import type { JournalEvent } from "./events.ts";
import { replay, type RunState } from "./replay.ts";
import type { RunStore } from "./store.ts";

export interface ToyOptions extends ArithmeticOptions {
  readonly workers?: number;
  readonly groupSize?: number;
  readonly carry?: boolean;
  readonly signal?: AbortSignal;
  readonly plan?: Partial<RoundsPlan>;
  readonly coordination?: Partial<Coordination>;
}

export const FEDERATED: Federation = { scenario: "federated", clients: [0, 1, 2, 3], fraction: 0.75, minClients: 2 };
export const ALONE: readonly Federation[] = [0, 1, 2].map((k) => ({ scenario: `local/${k}`, clients: [k], fraction: 1, minClients: 0 }));

/** A store in memory; `before` is called ahead of every call that would reach the disk, and may throw. */
export function memoryStore(events: JournalEvent[], blobs: Map<string, NamedTensors<"float32">>, before: () => void = () => {}): RunStore {
  return {
    append: (event) => {
      before();
      events.push(event);
    },
    tick: () => {},
    putTensors: (tensors) => {
      before();
      const hash = fingerprint(tensors);
      blobs.set(hash, tensors);
      return hash;
    },
    getTensors: (hash) => {
      const tensors = blobs.get(hash);
      if (tensors === undefined) throw new Error(`no blob ${hash}`);
      return tensors;
    },
  };
}

/** Equal tensors have equal fingerprints: 64 hexadecimal digits, as a blob's hash has. */
export function fingerprint(tensors: NamedTensors<"float32">): string {
  return sha256(...[...tensors].toSorted(([a], [b]) => (a < b ? -1 : 1)).flatMap(([name, { data }]) => [name, bytesOf(data)]));
}

/** Runs federations on a store, from wherever its events have them. */
export async function runToy(store: RunStore, events: readonly JournalEvent[], federations: readonly Federation[], options: ToyOptions = {}): Promise<RunState> {
  const trainers = Array.from({ length: options.workers ?? 1 }, () => createArithmeticTrainer(options));
  const memory: ClientMemory = new Map();
  const rows = new Map([0, 1, 2, 3, 4].map((client) => [client, { examples: Int32Array.from({ length: 3 + 2 * client }), tokens: 30 - client }]));
  const site = { rows, strategy: fedavg, ...(options.carry === true && { memory }) };
  const groupSize = options.groupSize ?? 2;
  const transport = createInProcessTransport(trainers.map((trainer) => createGroupWorker(trainer, site)), groupSize);
  let ms = 0;
  return runFederations(federations, replay(events), {
    plan: { seed: 5, rounds: 3, localSteps: 4, weighting: "examples", evaluateEvery: 2, ...options.plan },
    strategy: fedavg,
    pairs: [{ a: "q.lora_A.weight", b: "q.lora_B.weight", scaling: 2 }],
    store,
    transport,
    ...(options.carry === true && { memory }),
    initial: await createArithmeticTrainer().initialAdapter(),
    evaluate: (requests) => evaluateAdapters(trainers, requests.map(({ adapter }) => ({ adapter, sets: [0, 1, 2].map((client) => ({ client, examples: Int32Array.of(client, client + 1) })) })), { groupSize }),
    clock: () => new Date((ms += 7)),
    ...(options.signal && { signal: options.signal }),
    ...options.coordination,
  });
}

if (import.meta.main) {
  const [folder = "", calls = "0"] = process.argv.slice(2);
  using store = openRunStore(folder);
  let left = Number(calls);
  const count = (): void => {
    if (left-- === 0) process.kill(process.pid, "SIGKILL");
  };
  const counted: RunStore = {
    ...store,
    append: (event) => (count(), store.append(event)),
    putTensors: (tensors) => (count(), store.putTensors(tensors)),
  };
  await runToy(counted, store.events, [FEDERATED], { carry: true });
}
