/**
 * What the federation itself costs: rounds of simulated clients that train nothing, everything else as in a run: tasks out,
 * tensors copied from the client as from another thread, updates checked, averaged, cross term, blob and journal flushed.
 * Prints one JSON line. `node bench/federation-overhead.ts [--clients 32] [--rounds 20] [--folder DIR]`
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { openRunStore } from "../src/app/experiment/run-store.ts";
import { machine, versions } from "../src/app/experiment/versions.ts";
import { normals, randomKey } from "../src/core/base/random.ts";
import { tensor, type NamedTensors } from "../src/core/base/tensor.ts";
import { tensorBytes } from "../src/federation/protocol/encode.ts";
import { createGroupWorker } from "../src/federation/rounds/client.ts";
import { runFederations } from "../src/federation/rounds/coordinator.ts";
import { replay } from "../src/federation/rounds/replay.ts";
import { fedavg } from "../src/federation/strategies/fedavg.ts";
import { createInProcessTransport } from "../src/federation/transports/in-process.ts";
import type { TrainResult } from "../src/llm/training/types.ts";

const { values } = parseArgs({ options: { clients: { type: "string", default: "32" }, rounds: { type: "string", default: "20" }, folder: { type: "string", default: tmpdir() } } });
const clients = Number(values.clients);
/** The first rounds compile the loops and are not counted. */
const WARM_UP = 3;
const rounds = Number(values.rounds) + WARM_UP;
/** 112 tensors of 8 × 512: LoRA of rank 8 at 56 modules, 1.8 MB. */
const MODULES = 56;
const SHAPES = { A: [8, 512], B: [512, 8] } as const;

const key = randomKey(1, "overhead");
const initial: NamedTensors<"float32"> = new Map(
  Array.from({ length: MODULES }, (_, m) => Object.entries(SHAPES).map(([side, shape], s) => [`layer${m}.lora_${side}.weight`, tensor("float32", shape, Float32Array.from(normals(key, [m, s], 4096)))] as const)).flat(),
);
const pairs = Array.from({ length: MODULES }, (_, m) => ({ a: `layer${m}.lora_A.weight`, b: `layer${m}.lora_B.weight`, scaling: 2 }));

/** A client that returns what it got, but for one number of its own: no two updates are equal. */
function echo(adapter: NamedTensors<"float32">, client: number): TrainResult {
  // To a worker shared tensors go without a copy; what it has trained comes back with one.
  const trained = structuredClone(new Map([...adapter].map(([name, t]) => [name, { ...t, data: t.data.slice() }])));
  for (const { data } of trained.values()) data[client] = (data[client] ?? 0) + 1e-3;
  return { ok: true, adapter: trained, optimizer: new Map(), steps: 0, skippedSteps: 0, examples: 0, tokens: 0, loss: 0 };
}

function median(values: readonly number[]): number | undefined {
  return values.toSorted((a, b) => a - b)[values.length >> 1];
}

const folder = mkdtempSync(join(values.folder, "fedtune-overhead-"));
try {
  const seconds: number[] = [];
  const cpuSeconds: number[] = [];
  let begun = performance.now();
  let busy = process.cpuUsage();
  using store = openRunStore(folder, (event) => {
    if (event.type === "round-started") [begun, busy] = [performance.now(), process.cpuUsage()];
    if (event.type !== "round-committed") return;
    seconds.push((performance.now() - begun) / 1000);
    const { user, system } = process.cpuUsage(busy);
    cpuSeconds.push((user + system) / 1e6);
  });
  const trainer = { train: async (jobs: readonly { readonly adapter: NamedTensors<"float32">; readonly client: number }[]) => jobs.map(({ adapter, client }) => echo(adapter, client)) };
  const site = { rows: new Map(Array.from({ length: clients }, (_, k) => [k, { examples: new Int32Array(10 + k), tokens: 1000 }])), strategy: fedavg };
  await using transport = createInProcessTransport([createGroupWorker(trainer, site)], 1);
  await runFederations([{ scenario: "federated", clients: Array.from({ length: clients }, (_, k) => k), fraction: 1, minClients: clients }], replay([]), {
    plan: { seed: 1, rounds, localSteps: 0, weighting: "examples" },
    strategy: fedavg,
    pairs,
    store,
    transport,
    initial,
    evaluate: async () => [],
    clock: () => new Date(),
  });
  const counted = seconds.slice(WARM_UP).toSorted((a, b) => a - b);
  const adapter_bytes = tensorBytes(initial);
  console.log(JSON.stringify({ bench: "federation-overhead", clients, adapter_bytes, rounds: counted.length, median_round_s: median(counted), min_round_s: counted[0], max_round_s: counted.at(-1), median_round_cpu_s: median(cpuSeconds.slice(WARM_UP)), machine: machine(), versions: versions() }));
} finally {
  rmSync(folder, { recursive: true, force: true });
}
