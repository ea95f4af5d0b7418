import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeEach, describe, expect, it } from "vitest";
import { openJournal, readJournal } from "../../core/store/journal.ts";
import { createArithmeticTrainer } from "../../federation/rounds/arithmetic.fixture.ts";
import { journalEventSchema } from "../../federation/rounds/events.ts";
import type { JournalEvent } from "../../federation/rounds/events.ts";
import { loadExperiment, loadMatrix } from "./load.ts";
import { readCells, readMatrix, readRuns } from "./matrix-folder.ts";
import { combinationsOf } from "./matrix.ts";
import { JOURNAL } from "./run-folder.ts";
import { runMatrix, type MatrixEvent, type MatrixRun } from "./run-matrix.ts";

const root = mkdtempSync(join(tmpdir(), "fedtune-matrix-"));
process.env["FEDTUNE_CACHE"] = join(root, "cache");
afterAll(() => rmSync(root, { recursive: true, force: true }));
const assets = fileURLToPath(new URL("../../../assets/", import.meta.url));

let folder: string;
let made = 0;
beforeEach(() => {
  folder = join(root, `m${made++}`);
});

/** A config of the demo's model and data with a matrix. */
function configWith(matrix: string): string {
  const file = join(root, `trial-${made}.yaml`);
  writeFileSync(file, `name: trial
model: ${assets}stories260k
data: { path: ${assets}shakespeare, template: plain, max_tokens: 48 }
partition: { method: iid, clients: 3 }
training: { local_steps: 1 }
federation: { rounds: 2 }
compare: [federated]
${matrix}
`);
  return file;
}
const labels = (file: string, overrides: readonly string[] = []): readonly string[] => loadMatrix(file, overrides).cells.map(({ label }) => label);

async function follow(going: MatrixRun, until: (event: MatrixEvent) => boolean = () => false): Promise<MatrixEvent[]> {
  const events: MatrixEvent[] = [];
  for await (const event of going) {
    events.push(event);
    if (until(event)) break;
  }
  return events;
}
const trained: number[] = [];
/** Notes the seed of every trainer that is made; with `failAt`, that seed's cannot be made. */
const options = (failing?: number) => ({
  createTrainer: async (setup: { readonly seed: number }) => {
    if (setup.seed === failing) throw Object.assign(new (await import("../../core/base/errors.ts")).FedtuneError("resources", { where: "trainer", expected: "memory", got: "none" }));
    trained.push(setup.seed);
    return createArithmeticTrainer({});
  },
});
const finished = (events: readonly MatrixEvent[]): readonly (readonly [string, boolean])[] => events.flatMap((event) => (event.type === "cell-finished" ? [[event.label, event.reused] as const] : []));

describe("the combinations of a matrix", () => {
  it("are every value with every other, the last field fastest, named by what varies", () => {
    const file = configWith("matrix: { adapter: [{ method: lora, r: 4 }, { method: lora, r: 8 }, { method: prompt }], seed: [1, 2] }");
    expect(labels(file)).toEqual(["lora r 4, seed 1", "lora r 4, seed 2", "lora r 8, seed 1", "lora r 8, seed 2", "prompt, seed 1", "prompt, seed 2"]);
    expect(loadMatrix(file).cells.map(({ experiment: { config } }) => [config.adapter.method, config.seed])).toEqual([["lora", 1], ["lora", 2], ["lora", 1], ["lora", 2], ["prompt", 1], ["prompt", 2]]);
  });

  it("of a list of groups are those of each group, equal ones once", () => {
    const file = configWith("matrix: [{ compare: [[federated]], training.learning_rate: [1e-4, 1e-3] }, { compare: [[local, global]], training.learning_rate: [1e-3] }, { compare: [[federated]], training.learning_rate: [1e-3] }]");
    expect(labels(file)).toEqual(["federated, learning_rate 0.0001", "federated, learning_rate 0.001", "local+global, learning_rate 0.001"]);
  });

  it("obey the command line: a field that is set there no longer varies", () => {
    const file = configWith("matrix: { adapter.r: [4, 8], seed: [1, 2] }");
    expect(loadMatrix(file, ["seed=7"]).cells.map(({ experiment }) => [experiment.config.adapter, experiment.config.seed])).toMatchObject([[{ r: 4 }, 7], [{ r: 8 }, 7]]);
    expect(loadMatrix(file, ["seed=7"]).axes).toEqual(["adapter.r"]);
    expect(loadExperiment(file, ["seed=7", "adapter.r=2"]).config).toMatchObject({ seed: 7, adapter: { r: 2 } });
  });

  it.each([
    ["a value that a field cannot have", "matrix: { adapter.r: [8, 0] }", /trial-\d+\.yaml:8: matrix\.adapter\.r: expected a number of more than 0, got `0`/],
    ["a field that does not exist", "matrix: { adaptor.r: [8] }", /trial-\d+\.yaml:8: matrix\.adaptor\.r.*expected a field that exists, got `adaptor`. Did you mean `adapter`\?/],
    ["a value outside of a list", "matrix: { seed: 3 }", /matrix: expected fields with a list of values each.*got `{"seed":3}`/],
    ["an empty list", "matrix: { seed: [] }", /matrix.*expected fields with a list/],
    ["one experiment wanted", "matrix: { seed: [1, 2] }", /matrix: expected one experiment, got 2 of them, by seed. Choose one on the command line, by seed=…/],
    ["a benchmark that does not exist", "benchmarks: [{ name: mmul }]", /one of .*got `mmul`. Did you mean `mmlu`\?/],
    ["two benchmarks of one label", "benchmarks: [{ name: mmlu, limit: 5 }, { name: mmlu, shots: 0 }]", /benchmarks: expected a label of its own for each, got `mmlu` twice/],
    ["a setting that a benchmark does not have", "benchmarks: [{ name: rouge-l, max_tokens: 3 }]", /rouge-l\.max_tokens: expected a setting of rouge-l that exists/],
  ])("are refused by name: %s", (_what, matrix, message) => {
    const file = configWith(matrix);
    expect(() => loadExperiment(file)).toThrow(message);
  });

  it("take paths as relative to the config", () => {
    const file = configWith("matrix: { data.path: [a.jsonl, sub/b.jsonl] }");
    expect(loadMatrix(file).cells.map(({ experiment }) => experiment.config.data.path)).toEqual([join(root, "a.jsonl"), join(root, "sub/b.jsonl")]);
  });

  it("are one where there is no matrix", () => {
    expect(combinationsOf(undefined, "x").map(({ label, values }) => [label, values.size])).toEqual([["", 0]]);
  });
});

describe("a matrix", () => {
  it("is worked off once: what is done is not done again, what was stopped goes on, what is new is added", async () => {
    const file = configWith("matrix: { seed: [1, 2, 3] }");
    const load = (...overrides: string[]) => loadMatrix(file, [`output=${folder}`, ...overrides]);
    trained.length = 0;
    // Stopped in the middle of the second cell.
    const stopped = runMatrix(load(), options());
    await follow(stopped, (event) => event.type === "cell-event" && event.cell === 1 && event.event.type === "round-committed");
    expect(readCells(stopped.folder).cells.map(({ state }) => state)).toEqual(["finished", "unfinished", "waiting"]);
    const again = runMatrix(load(), options());
    const events = await follow(again);
    expect(again.folder).toBe(stopped.folder);
    expect(finished(events)).toEqual([["seed 1", true], ["seed 2", false], ["seed 3", false]]);
    expect(events.some((event) => event.type === "cell-event" && event.event.type === "run-resumed" && event.cell === 1)).toBe(true);
    expect(trained).toEqual([1, 2, 2, 3]);
    expect(readRuns(again.folder).map(({ plan }) => plan.seed)).toEqual([1, 2, 3]);
    // The same from its folder, and as part of another matrix: nothing is trained.
    expect(finished(await follow(runMatrix(readMatrix(again.folder), options()))).every(([, reused]) => reused)).toBe(true);
    const wider = configWith("matrix: { seed: [3, 4] }");
    expect(finished(await follow(runMatrix(loadMatrix(wider, [`output=${folder}`]), options())))).toEqual([["seed 3", true], ["seed 4", false]]);
    expect(trained).toEqual([1, 2, 2, 3, 4]);
  }, 60_000);

  it.each([
    ["another Node", { node: "1.2.3" }, true],
    ["another fedtune", { fedtune: "0.0.1" }, false],
    ["another onnxruntime", { "onnxruntime-node": "0.0.1" }, false],
  ])("takes a finished run of %s by whether that decides about bytes", async (_what, versions, reused) => {
    const matrix = loadMatrix(configWith("matrix: { seed: [1] }"), [`output=${folder}`]);
    const going = runMatrix(matrix, options());
    await follow(going);
    const decode = (value: unknown): JournalEvent => journalEventSchema.parse(value);
    const path = join(readRuns(going.folder)[0]?.folder ?? "", JOURNAL);
    const { events } = readJournal(path, decode);
    rmSync(path);
    using journal = openJournal(path, decode);
    for (const event of events) journal.append(event.type === "run-started" ? { ...event, versions: { ...event.versions, ...versions } } : event);
    journal[Symbol.dispose]();
    trained.length = 0;
    expect(finished(await follow(runMatrix(matrix, options())))).toEqual([["seed 1", reused]]);
    expect(trained).toEqual(reused ? [] : [1]);
  }, 60_000);

  it("gives the same adapters again elsewhere", async () => {
    const file = configWith("matrix: { training.local_steps: [1, 2] }");
    const adapters = async (output: string): Promise<readonly (string | undefined)[]> => {
      const going = runMatrix(loadMatrix(file, [`output=${join(folder, output)}`]), options());
      await follow(going);
      return readRuns(going.folder).map(({ events }) => events.flatMap((event) => (event.type === "run-finished" ? [event.kept?.best] : []))[0]);
    };
    const first = await adapters("a");
    expect(first.every((hash) => hash !== undefined)).toBe(true);
    expect(new Set(first).size).toBe(2);
    expect(await adapters("b")).toEqual(first);
  }, 60_000);

  it("goes on past a cell that fails, and says so at the end", async () => {
    const file = configWith("matrix: { seed: [1, 2, 3] }");
    const matrix = loadMatrix(file, [`output=${folder}`]);
    const going = runMatrix(matrix, options(2));
    const seen: MatrixEvent[] = [];
    await expect((async () => {
      for await (const event of going) seen.push(event);
    })()).rejects.toThrow(/trial, seed 2: expected every cell of the matrix to be done, got 1 of 3 that failed/);
    expect(finished(seen).map(([label]) => label)).toEqual(["seed 1", "seed 3"]);
    expect(readCells(going.folder).cells.map(({ state }) => state)).toEqual(["finished", "failed", "finished"]);
    await follow(runMatrix(matrix, options()));
    expect(readCells(going.folder).cells.map(({ state }) => state)).toEqual(["finished", "finished", "finished"]);
  }, 60_000);

  it("may leave the federation out: then the pooled data's adapter is handed over, or none", async () => {
    const file = configWith("matrix: { compare: [[base], [global], [local]] }");
    const going = runMatrix(loadMatrix(file, [`output=${folder}`]), options());
    await follow(going);
    const runs = readRuns(going.folder);
    expect(runs.map(({ events }) => events.flatMap((event) => (event.type === "run-finished" ? [event.kept?.scenario ?? "none"] : []))[0])).toEqual(["none", "global", "none"]);
    expect(runs.map((record) => existsSync(join(record.folder, "adapter")))).toEqual([false, true, false]);
    expect(readdirSync(folder).filter((name) => name.startsWith("trial-")).length).toBe(4);
  }, 60_000);

  it("leaves a list that was changed by hand to be named", () => {
    expect(() => readMatrix(folder)).toThrow(/cells\.json: expected a matrix's list of cells/);
  });
});
