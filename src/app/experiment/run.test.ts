import { appendFileSync, cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { sha256 } from "../../core/base/hash.ts";
import { createArithmeticTrainer, type ArithmeticOptions } from "../../federation/rounds/arithmetic.fixture.ts";
import type { RunEvent } from "../../federation/rounds/events.ts";
import type { TrainerSetup } from "../../llm/training/setup.ts";
import { partitionExperiment } from "./data.ts";
import { dryRun } from "./dry-run.ts";
import { loadExperiment } from "./load.ts";
import { readRun } from "./record.ts";
import { planHash, readPlan } from "./plan.ts";
import { resume, run, type Run } from "./run.ts";
import type { Experiment } from "./schema.ts";
import { summarise } from "./summary.ts";

const assets = fileURLToPath(new URL("../../../assets/", import.meta.url));
const root = mkdtempSync(join(tmpdir(), "fedtune-runs-"));
process.env["FEDTUNE_CACHE"] = join(root, "cache");
afterAll(() => rmSync(root, { recursive: true, force: true }));

const ALL = ["compare=[base, local, global, federated]"];

/** The demo's model and data, with the trainer that does arithmetic. */
function experiment(name: string, overrides: readonly string[] = []): Experiment {
  const loaded = loadExperiment(join(assets, "demo.yaml"), ["federation.rounds=3", "training.local_steps=2", "runtime.clients_side_by_side=3", "compare=[base, global, federated]", "data.max_tokens=64", ...overrides]);
  return { ...loaded, config: { ...loaded.config, output: join(root, name) } };
}
const options = (arithmetic: ArithmeticOptions = {}): { createTrainer: () => Promise<ReturnType<typeof createArithmeticTrainer>> } => ({ createTrainer: async () => createArithmeticTrainer(arithmetic) });

async function follow(going: Run, until: (event: RunEvent) => boolean = () => false): Promise<RunEvent[]> {
  const events: RunEvent[] = [];
  for await (const event of going) {
    events.push(event);
    if (until(event)) break;
  }
  return events;
}
const adapterHash = (folder: string): string => sha256(readFileSync(join(folder, "adapter", "adapter_model.safetensors")));
const transitions = (events: readonly RunEvent[]): string[] => events.filter(({ type }) => !["step", "note", "progress"].includes(type)).map(({ type }) => type);

describe("a run", () => {
  it("ends with an adapter, and its folder tells everything that was yielded", async () => {
    const going = run(experiment("whole", ALL), options());
    const promised = going.folder;
    const events = await follow(going);
    expect(going.folder).toBe(promised);
    expect(events.at(-1)?.type).toBe("run-finished");
    expect(readdirSync(going.folder).toSorted()).toEqual(["adapter", "blobs", "experiment.yaml", "journal.jsonl", "metrics.jsonl", "partition.json"]);
    const record = readRun(going.folder);
    expect(transitions(record.events).toSorted()).toEqual(transitions(events).toSorted());
    expect(record.events.filter(({ type }) => type === "step")).toHaveLength(3 * 2 * (8 + 1 + 8));
    expect(record.categories?.clients).toHaveLength(8);
    expect(record.config).toContain("clients_side_by_side: 3");
  });

  it("gives the final table: every client's rows by base, alone, pooled and federated", async () => {
    const going = run(experiment("table", ALL), options());
    const summary = summarise(await follow(going));
    expect(summary.clients).toHaveLength(8);
    for (const row of summary.clients) {
      expect(Object.values(row)).not.toContain(null);
      expect(row.federated?.perplexity).toBeCloseTo(Math.exp(row.federated?.loss ?? 0), 10);
    }
    expect(summary.globalTest).toBe(null);
    expect(summary.examplesSeen).toEqual({ federated: 3 * 2 * 2 * 8, global: 3 * 2 * 2, local: 3 * 2 * 2 * 8 });
    expect(summary.rounds.filter(({ scenario }) => scenario === "federated").map(({ round, validationLoss }) => [round, validationLoss !== null])).toEqual([[1, true], [2, true], [3, true]]);
  });

  it("never touches an earlier one: the same config makes a new numbered folder", async () => {
    const first = run(experiment("twice"), options());
    await follow(first);
    const before = adapterHash(first.folder);
    const second = run(experiment("twice"), options());
    await follow(second);
    expect(second.folder).toBe(`${first.folder}-2`);
    expect([adapterHash(first.folder), adapterHash(second.folder)]).toEqual([before, before]);
  });

  it("gives the same adapter with several workers", async () => {
    const one = run(experiment("workers", []), options({ sensitiveToGrouping: true }));
    await follow(one);
    const two = run(experiment("workers", ["runtime.workers=2"]), options({ sensitiveToGrouping: true }));
    await follow(two);
    expect(two.folder).toBe(`${one.folder}-2`);
    expect(adapterHash(two.folder)).toBe(adapterHash(one.folder));
  });

  it("is the same run whether passes go one after another or at the same time", async () => {
    const runs = [];
    for (const passes of [1, 2]) {
      const own = run(experiment("passes", ["runtime.threads=2", `runtime.data_parallel=${passes}`]), options());
      await follow(own);
      runs.push(own);
    }
    const [one, two] = runs.map(({ folder }) => ({ folder, plan: readPlan(folder) }));
    expect(two?.folder).toBe(`${one?.folder}-2`);
    expect([one?.plan.resolved.data_parallel, two?.plan.resolved.data_parallel]).toEqual([undefined, 2]);
    expect(one && two && planHash(two.plan)).toBe(one && planHash(one.plan));
  });

  it("by a derived field says in its opening, its plan and a dry run which values it left out", async () => {
    const row = (instruction: string, output: string): string => JSON.stringify({ instruction, output });
    const rows = [...Array.from({ length: 120 }, (_, i) => row(`Write a Python program that prints ${i}.`, `print(${i})`)), ...Array.from({ length: 5 }, (_, i) => row(`Write a Ruby program that prints ${i}.`, `puts ${i}`)), row("Name a fruit.", "An apple.")];
    writeFileSync(join(root, "code.jsonl"), rows.join("\n"));
    const byLanguage = experiment("left-out", [`data={path: ${join(root, "code.jsonl")}, derive: [language], max_tokens: 512}`, "partition={method: field, field: language}"]);
    const sentence = "Left out for fewer than 100 rows: Ruby (5); and 1 row whose language no rule can tell";
    const going = run(byLanguage, options());
    const events = await follow(going);
    const opening = events.slice(0, events.findIndex(({ type }) => type === "run-started"));
    expect(opening.flatMap((event) => (event.type === "note" ? [event.text] : []))).toContain(`${sentence}.`);
    expect(readRun(going.folder).config).toMatch(/left_out:\n +Ruby: 5\n +\(not told\): 1/);
    const dry = await dryRun(byLanguage, options());
    expect(dry.lines.map((line) => line.trim())).toContain(sentence);
    expect(dry.leftOut).toEqual([{ name: "Ruby", rows: 5 }, { name: "(not told)", rows: 1 }]);
    expect(await follow(resume(going.folder, options()))).toMatchObject([{ type: "note", text: "The run was finished already; its adapter is in place." }]);
  });

  it.skipIf(!existsSync("../shared/data"))("says in its opening what the licence of a built-in data set asks (needs ../shared)", async () => {
    process.env["FEDTUNE_DATA"] = "../shared/data";
    try {
      const going = run(experiment("licence", ["data={name: codealpaca-6.5k, sample: 0.01, max_tokens: 256}", "partition={method: iid, clients: 2}"]), options());
      const events = await follow(going, ({ type }) => type === "run-started");
      expect(events.flatMap((event) => (event.type === "note" && event.level === "warning" ? [event.text] : []))).toContain("codealpaca-6.5k, CC-BY-NC-4.0: May be measured on; neither it nor an adapter trained on it is shipped.");
    } finally {
      delete process.env["FEDTUNE_DATA"];
    }
  });

  it("leaves no folder behind where its data is bad", async () => {
    const data = join(root, "bad.jsonl");
    writeFileSync(data, '{"text": "a"}\n{"text": \n');
    await expect(follow(run(experiment("bad", [`data.path=${data}`, "partition={method: iid, clients: 1}"]), options()))).rejects.toThrow(/bad.jsonl:2/);
    expect(existsSync(join(root, "bad"))).toBe(false);
  });

  it("is refused more clients per round than there are", async () => {
    await expect(follow(run(experiment("few", ["federation.min_clients=9"]), options()))).rejects.toThrow(/federation.min_clients: expected at most 8, as many clients as there are, got 9/);
  });

  it("goes on where a client alone fails, and says so", async () => {
    const events = await follow(run(experiment("failing"), options({ failing: (client, round) => client === 8 && round === 2 })));
    expect(events.at(-1)?.type).toBe("run-finished");
    expect(events.find((e) => e.type === "round-committed" && e.scenario === "global" && e.round === 2)).toMatchObject({ updates: [], failures: [{ client: 8 }] });
  });
});

describe("a run that is resumed", () => {
  const stops: [string, (event: RunEvent) => boolean][] = [
    ["right after its start", (e) => e.type === "run-started"],
    ["within a round", (e) => e.type === "step" && e.scenario === "federated" && e.round === 2],
    ["between a commit and its evaluation", (e) => e.type === "round-committed" && e.scenario === "federated" && e.round === 2],
    ["while clients train alone", (e) => e.type === "round-committed" && e.scenario === "local/3" && e.round === 2],
    ["within the last evaluation", (e) => e.type === "evaluated" && e.split === "test" && e.scenario === "global"],
    ["before its samples are done", (e) => e.type === "sampled"],
  ];
  const carried = (name: string): Run => run(experiment(name, ["training.moments=carry", "federation.rounds=2", ...ALL]), options({ sensitiveToGrouping: true }));
  const undisturbed = carried("undisturbed");
  let whole: RunEvent[] = [];
  beforeAll(async () => {
    whole = await follow(undisturbed);
  });

  it.each(stops)("%s ends with the bytes of one that was not stopped", async (_name, until) => {
    const stopped = carried("stopped");
    await follow(stopped, until);
    expect(existsSync(join(stopped.folder, "adapter"))).toBe(false);
    await follow(resume(stopped.folder, options({ sensitiveToGrouping: true })));
    expect(adapterHash(stopped.folder)).toBe(adapterHash(undisturbed.folder));
    const { events } = readRun(stopped.folder);
    expect(summarise(events)).toEqual(summarise(whole));
    const without = (all: readonly RunEvent[], ...types: string[]): string[] => transitions(all).filter((type) => !types.includes(type));
    // A round may begin twice; everything else is there once.
    expect(without(events, "round-started", "run-resumed")).toEqual(without(whole, "round-started"));
    expect(events.filter(({ type }) => type === "step")).toHaveLength(whole.filter(({ type }) => type === "step").length);
  });

  it("before its journal has a line begins", async () => {
    const going = run(experiment("no-journal"), options());
    await follow(going);
    const copy = join(root, "no-journal-copy");
    cpSync(going.folder, copy, { recursive: true });
    for (const name of ["journal.jsonl", "metrics.jsonl", "blobs", "adapter"]) rmSync(join(copy, name), { recursive: true });
    await follow(resume(copy, options()));
    expect(adapterHash(copy)).toBe(adapterHash(going.folder));
  });

  it("holds its base as its plan says, not as this machine would", async () => {
    const held: string[] = [];
    const watching = { createTrainer: async (setup: TrainerSetup) => {
      held.push(setup.runtime.basePrecision);
      return createArithmeticTrainer({});
    } };
    const going = run(experiment("held", ["runtime.base_precision=int8"]), watching);
    await follow(going);
    const plan = readFileSync(join(going.folder, "experiment.yaml"), "utf8");
    const [, here = ""] = /^ {2}base_precision: (int8|uint8)$/m.exec(plan.slice(plan.indexOf("\nresolved:"))) ?? [];
    expect(new Set(held)).toEqual(new Set([here]));
    // A run that another machine began, and that has not got further than its plan.
    const other = here === "int8" ? "uint8" : "int8";
    const copy = join(root, "held-copy");
    cpSync(going.folder, copy, { recursive: true });
    for (const name of ["journal.jsonl", "metrics.jsonl", "blobs", "adapter"]) rmSync(join(copy, name), { recursive: true });
    writeFileSync(join(copy, "experiment.yaml"), plan.slice(0, plan.indexOf("\nresolved:")) + plan.slice(plan.indexOf("\nresolved:")).replace(`base_precision: ${here}`, `base_precision: ${other}`));
    held.length = 0;
    await follow(resume(copy, watching));
    expect(new Set(held)).toEqual(new Set([other]));
  });

  it("holds those modules in float32 that its plan names", async () => {
    const held: (readonly string[] | undefined)[] = [];
    const watching = { createTrainer: async (setup: TrainerSetup) => {
      held.push(setup.runtime.float32Modules);
      return createArithmeticTrainer({});
    } };
    const going = run(experiment("mixed", ["runtime.base_precision=int8", "runtime.float32_modules=[layers.1.mlp.down_proj]"]), watching);
    await follow(going);
    expect(held).toEqual([["model.layers.1.mlp.down_proj"]]);
    // As if it had been resolved to something else, and had not got further than its plan.
    const copy = join(root, "mixed-copy");
    cpSync(going.folder, copy, { recursive: true });
    for (const name of ["journal.jsonl", "metrics.jsonl", "blobs", "adapter"]) rmSync(join(copy, name), { recursive: true });
    const plan = readFileSync(join(copy, "experiment.yaml"), "utf8");
    writeFileSync(join(copy, "experiment.yaml"), plan.replace("- model.layers.1.mlp.down_proj", "- model.layers.0.self_attn.o_proj"));
    held.length = 0;
    await follow(resume(copy, watching));
    expect(held).toEqual([["model.layers.0.self_attn.o_proj"]]);
  });

  it("during its export writes the adapter whole", async () => {
    const going = run(experiment("export"), options());
    await follow(going);
    const before = adapterHash(going.folder);
    const journal = join(going.folder, "journal.jsonl");
    writeFileSync(journal, readFileSync(journal, "utf8").replace(/.*"run-finished".*\n$/, ""));
    cpSync(join(going.folder, "adapter"), join(going.folder, "adapter.tmp-1-0-0"), { recursive: true });
    writeFileSync(join(going.folder, "adapter", "adapter_model.safetensors"), "half");
    expect((await follow(resume(going.folder, options()))).at(-1)?.type).toBe("run-finished");
    expect(adapterHash(going.folder)).toBe(before);
    expect(readdirSync(going.folder).filter((name) => name.startsWith("adapter"))).toEqual(["adapter"]);
  });

  it("after its end has its adapter put in place and nothing else done", async () => {
    const going = run(experiment("ended"), options());
    await follow(going);
    const before = adapterHash(going.folder);
    rmSync(join(going.folder, "adapter"), { recursive: true });
    expect(transitions(await follow(resume(going.folder, options())))).toEqual([]);
    expect(adapterHash(going.folder)).toBe(before);
  });

  it("is refused where its plan, its data or its model changed, naming which", async () => {
    const data = join(root, "changing");
    cpSync(join(assets, "shakespeare"), data, { recursive: true });
    const model = join(root, "model");
    cpSync(join(assets, "stories260k"), model, { recursive: true });
    const stopped = run(experiment("changed", [`data.path=${data}`, `model=${model}`]), options());
    await follow(stopped, (event) => event.type === "round-committed");
    const again = (): Promise<unknown> => follow(resume(stopped.folder, options()));

    const [file = ""] = readdirSync(data).filter((name) => name.endsWith(".jsonl"));
    const rows = readFileSync(join(data, file));
    appendFileSync(join(data, file), '{"character": "x", "text": "One line more."}\n');
    await expect(again()).rejects.toMatchObject({ code: "data", message: expect.stringMatching(/expected the rows, tokens and partition that the run was started with .* Put the data back/) });
    writeFileSync(join(data, file), rows);

    const weights = join(model, "model.safetensors");
    const bytes = readFileSync(weights);
    writeFileSync(weights, Buffer.from(bytes).fill(1, bytes.length - 4));
    await expect(again()).rejects.toMatchObject({ code: "model", message: expect.stringMatching(/expected the model that the run was started with/) });
    writeFileSync(weights, bytes);

    const plan = join(stopped.folder, "experiment.yaml");
    const text = readFileSync(plan, "utf8");
    writeFileSync(plan, text.replace(/learning_rate: .*/, "learning_rate: 0.03"));
    await expect(again()).rejects.toMatchObject({ code: "config", message: expect.stringMatching(/experiment.yaml: expected the plan that the run was started with/) });
    writeFileSync(plan, text);
    await again();
  });

  it("is refused where there is none", async () => {
    await expect(follow(resume(join(root, "nowhere")))).rejects.toThrow(/expected a run's folder, which holds experiment.yaml, got none/);
    expect(() => readRun(join(root, "nowhere"))).toThrow(/got no such folder/);
  });
});

describe("before a run", () => {
  it("its partition is shown without a model", async () => {
    const { manifest, categories } = await partitionExperiment({ config: { ...experiment("partition").config, model: "no/model" } });
    expect(manifest.clients).toHaveLength(8);
    expect(categories.clients).toHaveLength(8);
  });

  it("a dry run counts what it would take and writes nothing", async () => {
    let ms = 0;
    const plan = await dryRun(experiment("dry", ["federation.fraction=0.5"]), { ...options(), elapsedMs: () => (ms += 1000) });
    expect(plan.steps).toBe(3 * 2 * (4 + 1));
    expect(plan.secondsPerStep).toBeCloseTo(1 / 2 / 3, 10);
    expect(plan.bytesPerRound).toBe(2 * 4 * ((plan.diskBytes / (3 * 2 + 2))));
    expect(plan.lines.join("\n")).toMatch(/Clients +8, 4 in a round; rows: \d/);
    expect(existsSync(join(root, "dry"))).toBe(false);
  });
});
