import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, it } from "vitest";
import { openRunStore } from "../../app/experiment/run-store.ts";
import { FedtuneError } from "../../core/base/errors.ts";
import type { NamedTensors } from "../../core/base/tensor.ts";
import { fedavg } from "../strategies/fedavg.ts";
import type { Strategy } from "../strategies/types.ts";
import type { TrainJob } from "../../llm/training/types.ts";
import type { Federation } from "./coordinator.ts";
import type { JournalEvent } from "./events.ts";
import { committedRounds, keptRound, replay, type RunState } from "./replay.ts";
import { ALONE, FEDERATED, fingerprint, memoryStore, runToy, type ToyOptions } from "./toy.fixture.ts";

async function runInMemory(federations: readonly Federation[], options: ToyOptions = {}): Promise<{ state: RunState; events: JournalEvent[] }> {
  const events: JournalEvent[] = [];
  const state = await runToy(memoryStore(events, new Map()), [], federations, options);
  return { state, events };
}

/** The adapters of all rounds of all scenarios. */
function adapters(state: RunState): string[] {
  return [...state.rounds].toSorted(([a], [b]) => (a < b ? -1 : 1)).flatMap(([scenario, rounds]) => rounds.map((r) => `${scenario} ${r.round} ${r.adapter} ${JSON.stringify(r.optimizers)}`));
}

describe("rounds", () => {
  it("commit every round and evaluate every n-th and the last one", async () => {
    const { state, events } = await runInMemory([FEDERATED]);
    expect(committedRounds(state, "federated").map(({ round }) => round)).toEqual([1, 2, 3]);
    expect(state.evaluations.map(({ round }) => round)).toEqual([2, 3]);
    expect(events.map(({ type }) => type)).toEqual(["round-started", "round-committed", "round-started", "round-committed", "evaluated", "round-started", "round-committed", "evaluated"]);
  });

  it("are the same for one worker and for several", async () => {
    const one = await runInMemory([FEDERATED], { workers: 1, sensitiveToGrouping: true });
    const three = await runInMemory([FEDERATED], { workers: 3, sensitiveToGrouping: true });
    expect(adapters(three.state)).toEqual(adapters(one.state));
  });

  it("group clients in ascending order by the plan alone", async () => {
    const groups: string[] = [];
    await runInMemory([{ ...FEDERATED, fraction: 1, clients: [3, 1, 0, 2] }], { groupSize: 3, plan: { rounds: 1 }, onGroup: (clients) => groups.push(clients.join()) });
    expect(groups).toEqual(["0,1,2", "3"]);
  });

  it("train each client alone in lock step to what it reaches by itself", async () => {
    const together = await runInMemory(ALONE, { groupSize: 3 });
    for (const federation of ALONE) {
      const alone = await runInMemory([federation]);
      expect(committedRounds(together.state, federation.scenario).map(({ adapter }) => adapter)).toEqual(committedRounds(alone.state, federation.scenario).map(({ adapter }) => adapter));
    }
  });

  it("carry moments on where asked, and give another adapter than without", async () => {
    const carried = await runInMemory([FEDERATED], { carry: true });
    const reset = await runInMemory([FEDERATED]);
    expect(Object.keys(committedRounds(carried.state, "federated").at(-1)?.optimizers ?? {}).length).toBeGreaterThanOrEqual(3);
    expect(adapters(carried.state)).not.toEqual(adapters(reset.state));
  });

  it("weigh by examples held, by tokens, or not at all", async () => {
    const weights = async (weighting: "examples" | "tokens" | "equal"): Promise<number[]> => {
      const { state } = await runInMemory([{ ...FEDERATED, fraction: 1 }], { plan: { weighting, rounds: 1 } });
      return committedRounds(state, "federated")[0]?.updates.map(({ weight }) => weight) ?? [];
    };
    expect(await weights("examples")).toEqual([3, 5, 7, 9]);
    expect(await weights("tokens")).toEqual([30, 29, 28, 27]);
    expect(await weights("equal")).toEqual([1, 1, 1, 1]);
  });

  it("go on without a client that fails, and name it", async () => {
    const { state } = await runInMemory([{ ...FEDERATED, fraction: 1 }], { carry: true, failing: (client, round) => client === 2 && round === 2 });
    const second = committedRounds(state, "federated")[1];
    expect(second?.failures).toEqual([{ client: 2, code: "internal", reason: "client 2 was told to fail" }]);
    expect(second?.updates.map(({ client }) => client)).toEqual([0, 1, 3]);
    expect(second?.optimizers["2"]).toBe(committedRounds(state, "federated")[0]?.optimizers["2"]);
  });

  it("take back what a client remembers of a round whose update was refused", async () => {
    const jobs: TrainJob[] = [];
    const { state } = await runInMemory([{ ...FEDERATED, fraction: 1 }], { carry: true, broken: (client, round) => client === 2 && round === 2, onJob: (job) => jobs.push(job) });
    expect(committedRounds(state, "federated")[1]?.failures).toEqual([{ client: 2, code: "federation", reason: expect.stringMatching(/federated, round 2, client 2: expected .* finite numbers/) }]);
    const moments = (round: number): string => fingerprint(jobs.find((job) => job.client === 2 && job.round === round)?.optimizer ?? new Map());
    expect(moments(3)).toBe(moments(2));
    expect(committedRounds(state, "federated")[1]?.optimizers["2"]).toBe(moments(2));
  });

  it("count the schedule's steps across rounds", async () => {
    const jobs: TrainJob[] = [];
    await runInMemory([FEDERATED], { onJob: (job) => jobs.push(job) });
    expect(new Set(jobs.map(({ round, steps, stepsDone, totalSteps }) => [round, steps, stepsDone, totalSteps].join()))).toEqual(new Set(["1,4,0,12", "2,4,4,12", "3,4,8,12"]));
  });

  it("stop where fewer clients answer than the plan needs, naming round and reason", async () => {
    const running = runInMemory([FEDERATED], { failing: (client, round) => client > 0 && round === 3 });
    await expect(running).rejects.toThrow(/federated, round 3: expected at least 2 updates, got \d and \d failures \(client \d: client \d was told to fail\)/);
  });

  it("leave the adapter of a client alone as it was in a round in which it fails", async () => {
    const { state } = await runInMemory(ALONE, { failing: (client, round) => client === 1 && round === 2 });
    const rounds = committedRounds(state, "local/1");
    expect(rounds[1]?.adapter).toBe(rounds[0]?.adapter);
    expect(rounds[2]?.adapter).not.toBe(rounds[1]?.adapter);
  });

  it("mark the lowest validation loss as best and keep its adapter where asked", async () => {
    // The rows' loss falls, then a client pulls away: by evaluating every round there is a best in the middle or at the end.
    const { state } = await runInMemory([FEDERATED], { plan: { rounds: 8, evaluateEvery: 1 } });
    const losses = state.evaluations.map(({ pooled }) => pooled.nll ?? Infinity);
    const lowest = losses.indexOf(Math.min(...losses)) + 1;
    expect(lowest).toBeLessThan(8);
    expect(keptRound(state, "federated", "best")?.round).toBe(lowest);
    expect(keptRound(state, "federated", "last")?.round).toBe(8);
  });

  it("refuse a strategy that would train a part of the adapter, rather than train the whole", async () => {
    const strategy: Strategy = { ...fedavg, name: "only-b", trainable: (_round, _client, names) => names.filter((name) => name.includes("lora_B")) };
    await expect(runInMemory([FEDERATED], { coordination: { strategy } })).rejects.toThrow(/strategy only-b, round 1, client \d: expected all of the adapter's tensors to be trainable, got 1 of 2, without q.lora_A.weight/);
  });

  it("stop cooperatively between rounds", async () => {
    const aborter = new AbortController();
    const running = runInMemory([FEDERATED], { signal: aborter.signal, onGroup: () => aborter.abort() });
    await expect(running).rejects.toMatchObject({ code: "interrupted" });
    await expect(running).rejects.toBeInstanceOf(FedtuneError);
  });

  it("refuse to go on where a repeated round gives other bytes than were committed", async () => {
    const { events } = await runInMemory(ALONE, { plan: { rounds: 1 } });
    const half = events.filter((e) => e.type !== "evaluated").slice(0, -1);
    const running = runToy(memoryStore([], new Map()), half, ALONE, { plan: { rounds: 1, seed: 5, localSteps: 3 } });
    await expect(running).rejects.toThrow(/local\/0, round 1: expected the adapter that was committed before the interruption, got other bytes/);
  });
});

describe("a run that is stopped at any call of its store", () => {
  const cases: [string, readonly Federation[], ToyOptions][] = [
    ["of a federation with moments", [FEDERATED], { carry: true, sensitiveToGrouping: true }],
    ["of clients alone in lock step", ALONE, { carry: true, sensitiveToGrouping: true, groupSize: 2 }],
  ];
  it.each(cases)("%s goes on to the bytes of one that was not", async (_name, federations, options) => {
    const whole = await runInMemory(federations, options);
    for (let stopAt = 0; ; stopAt++) {
      const events: JournalEvent[] = [];
      const blobs = new Map<string, NamedTensors<"float32">>();
      let calls = 0;
      const failing = memoryStore(events, blobs, () => {
        if (calls++ === stopAt) throw new Error("stopped");
      });
      const first = await runToy(failing, [], federations, options).catch(() => undefined);
      if (first !== undefined) {
        expect(stopAt).toBeGreaterThanOrEqual(20);
        break;
      }
      const resumed = await runToy(memoryStore(events, blobs), [...events], federations, options);
      expect(adapters(resumed), `stopped at call ${stopAt}`).toEqual(adapters(whole.state));
      expect(resumed.evaluations.map(({ at: _at, ...e }) => e)).toEqual(whole.state.evaluations.map(({ at: _at, ...e }) => e));
    }
  });

  const folders: string[] = [];
  afterAll(() => folders.forEach((folder) => rmSync(folder, { recursive: true, force: true })));

  it.each([0, 4, 11, 19])("as a process killed at call %i goes on to the same bytes on the disk", async (stopAt) => {
    const program = fileURLToPath(new URL("toy.fixture.ts", import.meta.url));
    const inFolder = (calls: readonly number[]): RunState => {
      const folder = mkdtempSync(join(tmpdir(), "fedtune-toy-"));
      folders.push(folder);
      for (const n of calls) expect(spawnSync(process.execPath, [program, folder, String(n)]).signal).toBe(n === Infinity ? null : "SIGKILL");
      using store = openRunStore(folder);
      return replay(store.events);
    };
    const whole = inFolder([Infinity]);
    expect(committedRounds(whole, "federated")).toHaveLength(3);
    expect(adapters(inFolder([stopAt, Infinity]))).toEqual(adapters(whole));
  });
});
