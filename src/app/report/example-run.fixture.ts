/** Realistic runs for tests, made up: one of ten clients and twenty rounds with baselines, a failure, a skipped step, notes and samples; and a matrix. */
import { experimentSchema } from "../experiment/schema.ts";
import type { Evaluated, RunEvent, Scenario } from "./facts.ts";
import type { ReportedRun } from "./reported-run.ts";

const NAMES = ["brainstorming", "classification", "closed_qa", "creative_writing", "general_qa", "information_extraction", "open_qa", "summarization", "office in Lübeck", "client-9 <b>&"];
const ROUNDS = 20;
const STEPS = 8;
const BATCH = 4;
const ADAPTER_BYTES = 1_835_008;
const hashOf = (n: number): string => n.toString(16).padStart(64, "0");
/** Something between −1 and 1 that looks like noise and never changes. */
const noise = (n: number): number => Math.sin(n * 12.9898) * Math.cos(n * 78.233);

export interface ExampleRunOptions {
  /** Stop before this fraction of the events, as a killed run would. */
  readonly until?: number;
  readonly rounds?: number;
  /** Name of the experiment. */
  readonly name?: string;
  /** What is compared; by default all of it. */
  readonly compare?: readonly ("base" | "local" | "global" | "federated")[];
  /** How much is learnt, beside 1; what is added to every loss; and to those after training. */
  readonly strength?: number;
  readonly level?: number;
  readonly shift?: number;
  readonly adapterBytes?: number;
  readonly trainableParameters?: number;
  /** Whether two benchmarks were asked at the end, a share and a perplexity. */
  readonly benchmarks?: boolean;
}

/** The run's events with one second between steps; the same each time. */
export function exampleRun({ until = 1, ...options }: ExampleRunOptions = {}): RunEvent[] {
  const events = [...makeEvents(options)];
  return events.slice(0, Math.ceil(events.length * until));
}

function* makeEvents({ rounds = ROUNDS, name = "dolly", compare = ["base", "local", "global", "federated"], strength = 1, level = 0, shift = 0, adapterBytes = ADAPTER_BYTES, trainableParameters = 458_752, benchmarks = false }: ExampleRunOptions): Iterable<RunEvent> {
  const compared = (scenario: Evaluated["scenario"]): boolean => compare.includes(scenario.startsWith("local/") ? "local" : (scenario as "base" | "global" | "federated"));
  let seconds = 0;
  const at = (after = 0): string => new Date(Date.UTC(2026, 10, 20, 9, 0, 0) + Math.round((seconds += after) * 1000)).toISOString();
  const sizes = NAMES.map((_, i) => 180 + Math.round(140 * noise(i + 3)) + i * 11);
  const clients = NAMES.map((name, i) => ({ name, train: sizes[i] ?? 0, validation: Math.round((sizes[i] ?? 0) / 10), test: Math.round((sizes[i] ?? 0) / 8) }));
  const scenarios = ["federated", "global", ...NAMES.map((_, i): Scenario => `local/${i}`)].filter((s) => compared(s as Scenario)) as Scenario[];
  yield {
    type: "run-started", at: at(), journalVersion: 1, name, plan: hashOf(12345678901), versions: { fedtune: "0.1.0", node: "24.21.0", onnxruntime: "1.30.0" }, machine: "Linux x64, 2 × Xeon, 8 GB", clients, globalTest: 480,
    trainableParameters, baseParameters: 25_829_888, adapterBytes, rounds, localSteps: STEPS, batchSize: BATCH, scenarios,
  };
  yield { type: "note", at: at(), level: "info", text: "2 of 2,143 examples were cut to 512 tokens" };
  yield { type: "note", at: at(), level: "warning", text: "client client-9 <b>& has fewer than 20 validation rows" };
  yield { type: "progress", at: at(1), stage: "encoding", done: 2143, total: 2143 };
  const evaluate = function* (scenario: Evaluated["scenario"], round: number, split: "validation" | "test" | "global-test", only?: number): Iterable<RunEvent> {
    const start = scenario === "base" ? 3.1 + level : 3.1 + level + shift - gain(scenario) * (1 - Math.exp(-round / 7)) + (scenario.startsWith("local") ? Math.max(0, round - 9) * 0.012 : 0);
    const of = split === "global-test" ? [] : clients.map((_, client) => client).filter((c) => only === undefined || c === only);
    const rows = of.map((client) => {
      const examples = clients[client]?.[split === "test" ? "test" : "validation"] ?? 0;
      return { client, examples, labelledTokens: examples * 61, nll: examples * 61 * (start + 0.28 * noise(client + 1) + 0.05 * noise(client * 7 + gain(scenario) * 10)) };
    });
    const sum = (key: "examples" | "labelledTokens" | "nll"): number => rows.reduce((n, row) => n + row[key], 0);
    const pooled = split === "global-test" ? { examples: 480, labelledTokens: 480 * 61, nll: 480 * 61 * (start + 0.06 + (only === undefined ? 0 : 0.09 * noise(only + 5))) } : { examples: sum("examples"), labelledTokens: sum("labelledTokens"), nll: sum("nll") };
    yield { type: "evaluated", at: at(2), scenario, round, split, clients: rows, pooled, best: split === "validation" && round !== 15 };
  };
  const trainRound = function* (scenario: Scenario, round: number): Iterable<RunEvent> {
    const only = onlyClientOf(scenario);
    const members = scenario === "federated" ? clients.map((_, i) => i) : [only ?? clients.length];
    const roundStart = seconds;
    yield { type: "round-started", at: at(), scenario, round, clients: members };
    const fails = scenario === "federated" && round === 7 ? 4 : -1;
    const lossAt = (client: number): number => 3.15 + level + shift - gain(scenario) * (1 - Math.exp(-round / 6)) + 0.3 * noise(client + 1) + 0.07 * noise(round * 31 + client * 17);
    for (const client of members) {
      for (let step = 1; step <= STEPS && client !== fails; step++) {
        const skipped = scenario === "federated" && round === 3 && client === 2 && step === 5;
        yield { type: "step", at: at(only === undefined ? 0.9 : 0.1), scenario, round, client, step, loss: skipped ? null : lossAt(client) + 0.1 * noise(step + client * 3 + round), learningRate: 2e-4, gradientNorm: skipped ? null : 0.8, skipped, examples: BATCH, tokens: 480 + Math.round(90 * noise(step * client + round)) };
      }
    }
    const updates = members.filter((c) => c !== fails).map((client) => {
      const skippedSteps = scenario === "federated" && round === 3 && client === 2 ? 1 : 0;
      return { client, weight: clients[client]?.train ?? 1, examples: STEPS * BATCH, tokens: STEPS * 480, steps: STEPS - skippedSteps, skippedSteps, loss: lossAt(client), bytesDown: adapterBytes + 8712, bytesUp: adapterBytes + 8712 };
    });
    const failures = fails < 0 ? [] : [{ client: fails, code: "resources", reason: "worker 1: expected 310 MB of memory, got 120 MB free" }];
    yield { type: "round-committed", at: at(0.2), scenario, round, adapter: hashOf(round), optimizers: {}, updates, failures, ...(scenario === "federated" ? { crossTerm: 0.021 + 0.05 * (1 - Math.exp(-round / 5)) + 0.004 * noise(round) } : {}), seconds: seconds - roundStart, peakBytes: 890_000_000 + Math.round(40_000_000 * noise(round)) };
  };
  const gain = (scenario: string): number => strength * (scenario === "base" ? 0 : scenario === "federated" ? 0.52 : scenario === "global" ? 0.6 : 0.34);
  if (compared("base")) yield* evaluate("base", 0, "validation");
  for (const group of [scenarios.filter((s) => s === "federated"), scenarios.filter((s) => s === "global"), scenarios.filter((s) => s.startsWith("local/"))]) {
    for (let round = 1; round <= rounds; round++) {
      // Clients alone go side by side: each round of all of them before the next.
      for (const scenario of group) yield* trainRound(scenario, round);
      if (round % 5 === 0 || (group[0] === "federated" && round % 2 === 0)) for (const scenario of group) yield* evaluate(scenario, round, "validation", onlyClientOf(scenario));
    }
  }
  for (const split of ["test", "global-test"] as const) {
    if (compared("base")) yield* evaluate("base", 0, split);
    for (const scenario of scenarios) yield* evaluate(scenario, rounds, split, onlyClientOf(scenario));
  }
  if (benchmarks) {
    for (const scenario of [...(compared("base") ? (["base"] as const) : []), ...scenarios]) {
      const accuracy = 0.04 + 0.3 * gain(scenario) + 0.02 * noise(1000 * shift + gain(scenario) * 31 + (onlyClientOf(scenario) ?? 0));
      const perplexity = Math.exp(3.2 + level + (scenario === "base" ? 0 : shift) - 0.8 * gain(scenario));
      const round = scenario === "base" ? 0 : rounds;
      const event = { type: "benchmarked", at: at(4), scenario, round, notes: [] as string[], seconds: 4 } as const;
      yield { ...event, place: 0, label: "gsm8k", benchmark: "gsm8k", asked: 200, counted: 200, figures: [{ name: "accuracy", unit: "share", value: accuracy, low: accuracy - 0.03, high: accuracy + 0.04, interval: "wilson", questions: 200 }] };
      yield { ...event, place: 1, label: "stories", benchmark: "perplexity", asked: 64, counted: 64, figures: [{ name: "perplexity", unit: "number", better: "lower", value: perplexity, low: perplexity * 0.93, high: perplexity * 1.08, interval: "bootstrap", questions: 64 }, { name: "perplexity", group: { kind: "client", name: "a" }, unit: "number", better: "lower", value: 3, low: 2, high: 4, interval: "bootstrap", questions: 8 }] };
    }
  }
  const prompt = "Write a short letter to a neighbour who waters the plants.";
  yield { type: "sampled", at: at(1), scenario: "base", prompt, text: "The neighbour neighbour is a plants of the plants. <script>alert(1)</script> It is important to water the the water." };
  if (compared("federated")) yield { type: "sampled", at: at(1), scenario: "federated", prompt, text: "Dear Ms Petersen,\n\nthank you for watering our plants while we are away. The ferns like it twice a week, the cactus not at all.\n\nBest wishes,\nAnna" };
  yield { type: "run-finished", at: at(), kept: { scenario: compared("federated") ? "federated" : "global", best: hashOf(18), last: hashOf(rounds), bestRound: 18, lastRound: rounds, chosen: "best" }, seconds };
}

function onlyClientOf(scenario: Evaluated["scenario"]): number | undefined {
  return scenario.startsWith("local/") ? Number(scenario.slice("local/".length)) : undefined;
}

/** Rows by category and client, for the partition chart. */
export const exampleCategories = {
  field: "category",
  categories: ["letters", "reports", "code", "poems"],
  clients: NAMES.map((name, i) => ({ name, counts: [0, 1, 2, 3].map((c) => Math.round(60 + 55 * noise(c * 13 + i))) })),
};

export const exampleConfig = `name: dolly
seed: 7
model: ../shared/models/minimind2-small # <not a tag>
adapter: { method: lora, r: 8, lora_alpha: 16, target_modules: all-linear }
training: { batch_size: 4, learning_rate: 2.0e-4, local_steps: 8 }
federation: { rounds: 20, strategy: fedavg, weights: examples }
`;

export interface ExampleRecordOptions extends ExampleRunOptions {
  readonly seed?: number;
  readonly method?: string;
  readonly learningRate?: number;
  /** Short text from which the data's hash is made. */
  readonly data?: string;
  readonly folder?: string;
}

/** A run as a folder would tell it; its name is that of the folder. */
export function exampleRecord({ seed = 7, method = "lora", learningRate = 2e-4, data = "a", folder, ...options }: ExampleRecordOptions = {}): ReportedRun {
  const name = options.name ?? "dolly";
  const config = experimentSchema.parse({
    name, seed, model: "/models/minimind2-small", adapter: { method }, data: { path: "/data/dolly.jsonl" }, partition: { method: "iid", clients: NAMES.length },
    training: { batch_size: BATCH, learning_rate: learningRate, local_steps: STEPS }, federation: { rounds: options.rounds ?? ROUNDS }, compare: options.compare ?? ["base", "local", "global", "federated"],
  });
  const resolved = { device: "cpu", compute: "float32", threads: 2, base_precision: "float32", clients_side_by_side: 1, tokens_per_micro_batch: 512, pack_tokens: 512, model_folder: "/models/minimind2-small", model_sha256: hashOf(1), data_sha256: Buffer.from(data).toString("hex").padStart(64, "0") } as const;
  return { name: folder ?? name, folder: `/runs/${folder ?? name}`, events: exampleRun(options), config: exampleConfig, plan: { ...config, resolved }, categories: exampleCategories };
}

/** Two federations × three methods × three seeds, each cell two runs: the federation in one, what it is compared with in the other. */
export function exampleMatrix(): readonly ReportedRun[] {
  const methods = [["lora", 1, ADAPTER_BYTES, 458_752], ["p_tuning", 0.55, 7_340_032, 1_835_008], ["prompt", 0.3, 40_960, 10_240]] as const;
  const runs: ReportedRun[] = [];
  for (const [f, name] of ["dolly-by-category", "gsm8k-3"].entries()) {
    for (const [method, power, adapterBytes, trainableParameters] of methods) {
      for (const seed of [1, 2, 3]) {
        const strength = power * (1 - 0.2 * f);
        const common = { name, method, seed, strength, level: -0.3 * f, shift: 0.02 * noise(seed * 7 + strength * 10), adapterBytes, trainableParameters, data: `${name} ${f === 0 ? seed : 0}`, benchmarks: true };
        runs.push(exampleRecord({ ...common, compare: ["federated"], folder: `${name}-${method}-${seed}-federated` }));
        runs.push(exampleRecord({ ...common, compare: method === "lora" ? ["base", "local", "global"] : ["local", "global"], folder: `${name}-${method}-${seed}-compared` }));
      }
    }
  }
  return runs;
}
