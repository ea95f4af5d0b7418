/**
 * `fedtune bench round`: what the federation itself costs. Rounds of simulated clients that train nothing, everything else as in
 * a run: tasks out, tensors copied from the client as from another thread, updates checked, averaged, cross term, blob and
 * journal flushed. The counterpart of the Flower peer with `--steps 0`.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { performance } from "node:perf_hooks";
import { normals, randomKey } from "../../core/index.ts";
import type { NamedTensors } from "../../core/index.ts";
import { createGroupWorker, createInProcessTransport, loadStrategy, replay, runFederations, tensorBytes } from "../../federation/index.ts";
import { machine, openRunStore, versions } from "../../index.ts";
import type { Trainer } from "../../llm/index.ts";

export interface RoundBenchOptions {
  readonly clients: number;
  /** Rounds that are counted. */
  readonly rounds: number;
}

/** The first rounds compile the loops and are not counted. */
const WARM_UP = 3;
/** 112 tensors of 8 × 512: LoRA of rank 8 at 56 modules, 1.8 MB, as the Flower peer sends. */
const MODULES = 56;
const FACTORS = [["lora_A", [8, 512]], ["lora_B", [512, 8]]] as const;

function adapterOfSize(): NamedTensors<"float32"> {
  const key = randomKey(1, "bench round");
  const named = Array.from({ length: MODULES }, (_, m) =>
    FACTORS.map(([factor, shape], f) => [`layer${m}.${factor}.weight`, { dtype: "float32" as const, shape, data: Float32Array.from(normals(key, [m, f], 4096)) }] as const),
  );
  return new Map(named.flat());
}

/** Returns what it got but for one number of its own, so that no two updates are equal; copied as from another thread. */
const idle: Pick<Trainer, "train"> = {
  train: (jobs) =>
    Promise.resolve(
      jobs.map(({ adapter, client }) => {
        const trained = new Map([...adapter].map(([name, t]) => [name, { ...t, data: t.data.slice() }]));
        for (const { data } of trained.values()) data[client] = (data[client] ?? 0) + 1e-3;
        return { ok: true as const, adapter: trained, optimizer: new Map(), steps: 0, skippedSteps: 0, examples: 0, tokens: 0, loss: 0 };
      }),
    ),
};

/** Runs the rounds in a temporary folder and returns one flat record. */
export async function benchRound({ clients, rounds }: RoundBenchOptions): Promise<Readonly<Record<string, unknown>>> {
  const everyone = Array.from({ length: clients }, (_, k) => k);
  const initial = adapterOfSize();
  const strategy = await loadStrategy("fedavg");
  const folder = mkdtempSync(join(tmpdir(), "fedtune-bench-"));
  try {
    const seconds: number[] = [];
    let begun = performance.now();
    using store = openRunStore(folder, (event) => {
      if (event.type === "round-started") begun = performance.now();
      if (event.type === "round-committed") seconds.push((performance.now() - begun) / 1000);
    });
    const rows = new Map(everyone.map((k) => [k, { examples: new Int32Array(10 + k), tokens: 1000 }]));
    await using transport = createInProcessTransport([createGroupWorker(idle, { rows, strategy })], 1);
    await runFederations([{ scenario: "federated", clients: everyone, fraction: 1, minClients: clients }], replay([]), {
      plan: { seed: 1, rounds: rounds + WARM_UP, localSteps: 0, weighting: "examples" },
      strategy,
      pairs: Array.from({ length: MODULES }, (_, m) => ({ a: `layer${m}.lora_A.weight`, b: `layer${m}.lora_B.weight`, scaling: 2 })),
      store,
      transport,
      initial,
      evaluate: async () => [],
      clock: () => new Date(),
    });
    const counted = seconds.slice(WARM_UP).toSorted((a, b) => a - b);
    return { peer: "fedtune", ...versions(), machine: machine(), clients, steps: 0, adapter_bytes: tensorBytes(initial), rounds, median_round_s: counted[counted.length >> 1] ?? null, min_round_s: counted[0] ?? null };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
