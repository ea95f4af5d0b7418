/** The configs under examples/ are accepted, commands in their comments included; those of FederatedScope-LLM hold its values. */
import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { loadMatrix } from "../src/app/experiment/load.ts";
import { must } from "../src/core/base/errors.ts";
import { completeSettings } from "../src/llm/data/catalog/complete.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
const files = globSync("examples/**/*.yaml", { cwd: root }).map((file) => file.replaceAll("\\", "/")).sort();
const loadAll = (file: string, overrides: readonly string[] = []) => loadMatrix(file, overrides, { workingFolder: root }).cells.map(({ experiment }) => experiment.config);
/** The first cell of a matrix, or the one experiment that a file is. */
const load = (file: string, overrides: readonly string[] = []) => must(loadAll(file, overrides)[0], file);

/** Overrides of the commands that a file's comments give for it. */
function commandsIn(file: string): readonly (readonly string[])[] {
  const lines = readFileSync(join(root, file), "utf8").split("\n").filter((line) => line.startsWith("#") && line.includes(`fedtune run ${file}`));
  return lines.map((line) => [...(line.split(file)[1] ?? "").matchAll(/'([^']*)'|(\S+)/g)].map(([, quoted, plain]) => quoted ?? plain ?? ""));
}

test("there are examples, those of FederatedScope-LLM among them", () => {
  const federations = ["fed-codealpaca", "fed-dolly", "fed-gsm8k-3"];
  expect(files).toEqual(expect.arrayContaining(["examples/dolly.yaml", ...federations.flatMap((name) => [`examples/fsllm/${name}.yaml`, `examples/fsllm/laptop/${name}.yaml`])]));
});

test.each(files)("%s is accepted, and so is every command in its comments", (file) => {
  const { data } = load(file);
  expect(() => completeSettings(data)).not.toThrow();
  const commands = commandsIn(file);
  expect(commands.length).toBeGreaterThan(0);
  for (const overrides of commands) load(file, overrides);
});

describe("the federations of FederatedScope-LLM have its values", () => {
  const shared = {
    seed: 12345,
    data: { template: "alpaca", overflow: "truncate" },
    adapter: { method: "lora", r: 8, target_modules: ["q_proj", "v_proj"] },
    training: { batch_size: 1, local_steps: 30, optimizer: { name: "sgd", momentum: 0, weight_decay: 0 }, schedule: { name: "constant", warmup_steps: 0 }, max_grad_norm: 0 },
    federation: { strategy: "fedavg", rounds: 500, fraction: 1, weighting: "equal", evaluate_every: 50, keep: "best" },
  };
  test.each([
    ["fed-codealpaca", { name: "rosetta_alpaca", max_tokens: 650 }, { method: "field", field: "category", clients: 9, split: { train: 0.89, validation: 0.1, test: 0.01 } }, { learning_rate: 1e-4, lora_alpha: 32, lora_dropout: 0 }, ["humaneval", "humaneval-x"]],
    ["fed-dolly", { name: "dolly-15k", max_tokens: 650 }, { method: "field", field: "category", clients: 8, split: { train: 0.99, validation: 0, test: 0.01 } }, { learning_rate: 5e-3, lora_alpha: 64, lora_dropout: 0.1 }, ["mmlu"]],
    ["fed-gsm8k-3", { name: "gsm8k", max_tokens: 1000 }, { method: "iid", clients: 3, split: { train: 0.998, validation: 0.001, test: 0.001 } }, { learning_rate: 5e-3, lora_alpha: 16, lora_dropout: 0.05 }, ["gsm8k"]],
  ])("%s", (name, data, partition, { learning_rate, ...adapter }, benchmarks) => {
    const config = load(`examples/fsllm/${name}.yaml`);
    expect(config).toMatchObject({ ...shared, data: { ...shared.data, ...data }, partition: { ...partition, compat: "fsllm" }, adapter: { ...shared.adapter, ...adapter }, training: { ...shared.training, learning_rate } });
    expect(config.data.compat).toBeUndefined();
    expect(config.benchmarks.map((benchmark) => [benchmark.name, benchmark["compat"]])).toEqual(benchmarks.map((benchmark) => [benchmark, "fsllm"]));
  });

  test("baselines that the paper trains at another rate are cells of their own", () => {
    expect(loadAll("examples/fsllm/fed-codealpaca.yaml")).toMatchObject([
      { compare: ["base", "federated"], training: { learning_rate: 1e-4 }, adapter: { lora_dropout: 0 } },
      { compare: ["global", "local"], training: { learning_rate: 1e-3 }, adapter: { lora_dropout: 0.1, lora_alpha: 32 } },
    ]);
    expect(loadAll("examples/fsllm/fed-dolly.yaml")).toMatchObject([
      { compare: ["base", "global", "federated"], training: { learning_rate: 5e-3 } },
      { compare: ["local"], training: { learning_rate: 1e-3 }, adapter: { lora_alpha: 64 } },
    ]);
  });
});

test.each(files.filter((file) => file.includes("/laptop/")))("%s compares all four, by what a small model shows", (file) => {
  const { compare, benchmarks } = load(file);
  expect(compare).toEqual(["base", "local", "global", "federated"]);
  expect(benchmarks.map(({ name }) => name)).toEqual(["perplexity", "rouge-l", "response-choice"]);
  expect(loadAll(file).map(({ adapter, seed }) => `${adapter.method} ${seed}`)).toEqual(["lora", "p_tuning", "prompt"].flatMap((method) => [1, 2, 3].map((n) => `${method} ${n}`)));
});
