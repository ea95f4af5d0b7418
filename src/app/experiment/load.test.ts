import { mkdtempSync, mkdirSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { FedtuneError } from "../../core/base/errors.ts";
import { allFields, experimentJsonSchema, fieldNames } from "./json-schema.ts";
import { defineExperiment, loadExperiment } from "./load.ts";
import type { ExperimentConfig } from "./schema.ts";

const folder = mkdtempSync(join(tmpdir(), "fedtune-config-"));
const GOOD = `
model: tiny
data: { path: rows.jsonl }
partition: { method: iid, clients: 3 }
`;
mkdirSync(join(folder, "tiny"));

function load(text: string, overrides: readonly string[] = []): ExperimentConfig {
  writeFileSync(join(folder, "trial.yaml"), text);
  return loadExperiment(join(folder, "trial.yaml"), overrides, { workingFolder: "/work-folder" }).config;
}
function refusal(text: string, overrides: readonly string[] = []): string {
  try {
    load(text, overrides);
  } catch (error) {
    if (error instanceof FedtuneError && error.code === "config") return error.message.replaceAll(`${folder}/`, "");
    throw error;
  }
  return "accepted";
}

describe("a config", () => {
  it("gets the schema's defaults and its file's name", () => {
    expect(load(GOOD)).toMatchObject({ name: "trial", seed: 1, compare: ["base", "federated"], federation: { strategy: "fedavg", rounds: 10, weighting: "examples", keep: "best" }, adapter: { r: 8 } });
  });

  it("has paths relative to itself, on the command line to the working folder", () => {
    const config = load(`${GOOD}federation: { strategy: own.ts }\n`, ["data.template=mine.jinja", "adapter.init_from=../adapter"]);
    expect(config.model).toBe(join(folder, "tiny"));
    expect(config.data.path).toBe(join(folder, "rows.jsonl"));
    expect(config.federation.strategy).toBe(join(folder, "own.ts"));
    expect(config.data.template).toBe("/work-folder/mine.jinja");
    expect(config.adapter.init_from).toBe("/adapter");
    expect(config.output).toBe("/work-folder/runs");
    expect(load(`${GOOD}output: here\n`).output).toBe(join(folder, "here"));
  });

  it("leaves a Hub id and names of built-in things alone", () => {
    const config = load(GOOD, ["model=HuggingFaceTB/SmolLM2-135M", "data.template=chat"]);
    expect([config.model, config.data.template, config.federation.strategy]).toEqual(["HuggingFaceTB/SmolLM2-135M", "chat", "fedavg"]);
  });

  it("is overridden field by field, with values in YAML", () => {
    const config = load(GOOD, ["federation.rounds=3", "training.learning_rate=1e-4", "compare=[local, global, federated]", "adapter={r: 4, target_modules: all-linear}", "name=second"]);
    expect(config).toMatchObject({ name: "second", federation: { rounds: 3 }, training: { learning_rate: 1e-4 }, compare: ["local", "global", "federated"], adapter: { r: 4, target_modules: "all-linear" } });
  });

  it.each([
    ["a misspelt field", "federation: { round: 3 }", "trial.yaml:5: federation.round: expected a field of `federation` that exists, got `round`. Did you mean `rounds`?"],
    ["a misspelt field inside a method", "adapter: { lora_alfa: 3 }", "trial.yaml:5: adapter.lora_alfa: expected a field of `adapter` that exists, got `lora_alfa`. Did you mean `lora_alpha`?"],
    ["a field that is like no other", "adapter: { zzzzzzzzzzzz: 3 }", "trial.yaml:5: adapter.zzzzzzzzzzzz: expected a field of `adapter` that exists, got `zzzzzzzzzzzz`. Known here: method, r,"],
    ["a value below its range", "federation: { fraction: 0 }", "trial.yaml:5: federation.fraction: expected a number of more than 0, got `0`."],
    ["a value above its range", "adapter: { lora_dropout: 1.5 }", "trial.yaml:5: adapter.lora_dropout: expected a number of at most 0.99, got `1.5`."],
    ["another type", "training: { batch_size: 2.5 }", "trial.yaml:5: training.batch_size: expected a whole number, got `2.5`."],
    ["a word that is none of the allowed ones", "compare: [lokal, federated]", "trial.yaml:5: compare.0: expected base, local, global, federated, got `\"lokal\"`. Did you mean `local`?"],
    ["a method that is unknown", "training: { optimizer: { name: adam } }", "trial.yaml:5: training.optimizer.name: expected adamw, sgd, got `\"adam\"`. Did you mean `adamw`?"],
    ["neither of two types", "runtime: { threads: [2] }", "trial.yaml:5: runtime.threads: expected auto or a number, got `[2]`."],
    ["a name that is no folder's", "name: a/b", "trial.yaml:5: name: expected letters, digits, `-`, `_` and `.`, got `\"a/b\"`."],
    ["a text where a list belongs", "seed: 3\nsamples: { prompts: x }", "trial.yaml:6: samples.prompts: expected a list, got `\"x\"`."],
  ])("is refused for %s, by line, value and remedy", (_name, line, message) => {
    expect(refusal(GOOD.trimEnd() + `\n${line}\n`).startsWith(message), refusal(GOOD.trimEnd() + `\n${line}\n`)).toBe(true);
  });

  it("is refused for what it lacks, and for broken YAML", () => {
    expect(refusal("data: { path: x }\npartition: { method: file }")).toBe("trial.yaml: model: expected a text, got nothing. Add the field `model`.");
    expect(refusal("model: [")).toMatch(/^trial.yaml:1: expected YAML, got /);
    expect(refusal("- model")).toBe("trial.yaml: expected fields such as `model:` and `data:`, got a list.");
    expect(refusal("")).toMatch(/got nothing\.$/);
  });

  it("names the command line for what came from there", () => {
    expect(refusal(GOOD, ["federation.rounds=0"])).toBe("federation.rounds (command line): expected a number of more than 0, got `0`.");
    expect(refusal(GOOD, ["partition.split={train: 0.5}"])).toMatch(/^partition.split \(command line\): expected train, validation and test to sum to 1, got `{"train":0.5}`/);
    expect(refusal(GOOD, ["federation"])).toMatch(/^`federation`: expected field=value, such as federation.rounds=3/);
    expect(refusal(GOOD, ["__proto__.x=1"])).toMatch(/expected field=value/);
    expect(refusal(GOOD, ["data.fields={"])).toMatch(/^data.fields \(command line\): expected a value in YAML/);
  });

  it("has several problems told in at most three lines, misspelt fields first", () => {
    const message = refusal("modell: tiny\ndata: { pfad: x, max_tokens: 1 }\npartition: { method: iid, clients: 0 }\nseed: -1\n");
    const lines = message.split("\n");
    expect(lines).toHaveLength(3);
    expect(lines[0]).toMatch(/^trial.yaml:\d: (modell|data.pfad): /);
    expect(lines[2]).toMatch(/^… and \d+ more\.$/);
  });

  it("that is not there is refused", () => {
    expect(() => loadExperiment("nowhere.yaml", [], { workingFolder: folder })).toThrow(/^nowhere.yaml: expected an experiment's config file \(YAML\), got no such file/);
  });

  it("may be an object", () => {
    const { config } = defineExperiment({ model: "tiny", data: { path: "rows.jsonl" }, partition: { method: "file" } }, folder);
    expect([config.name, config.model, config.output]).toEqual(["experiment", join(folder, "tiny"), join(folder, "runs")]);
    expect(() => defineExperiment({ model: "tiny" }, folder)).toThrow(/data: expected an object with fields, got nothing/);
  });
});

describe("the schema", () => {
  it("describes every field", () => {
    expect(allFields().filter(({ description }) => description === "")).toEqual([]);
    expect(allFields().length).toBeGreaterThan(50);
  });
  it("knows the fields at a path, through unions", () => {
    expect(fieldNames(["partition"])).toEqual(expect.arrayContaining(["method", "clients", "alpha", "min_examples"]));
    expect(fieldNames([])).toContain("federation");
    expect(experimentJsonSchema().properties).toHaveProperty("training");
  });
});
