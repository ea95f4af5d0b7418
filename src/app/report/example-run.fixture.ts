/** A realistic run for tests: ten clients, twenty rounds, baselines, a failure, a skipped step, notes and samples. Made up. */
import type { Evaluated, RunEvent, Scenario } from "./facts.ts";

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
}

/** The run's events with one second between steps; the same each time. */
export function exampleRun({ until = 1, rounds = ROUNDS }: ExampleRunOptions = {}): RunEvent[] {
  const events = [...makeEvents(rounds)];
  return events.slice(0, Math.ceil(events.length * until));
}

function* makeEvents(rounds: number): Iterable<RunEvent> {
  let seconds = 0;
  const at = (after = 0): string => new Date(Date.UTC(2026, 10, 20, 9, 0, 0) + Math.round((seconds += after) * 1000)).toISOString();
  const sizes = NAMES.map((_, i) => 180 + Math.round(140 * noise(i + 3)) + i * 11);
  const clients = NAMES.map((name, i) => ({ name, train: sizes[i] ?? 0, validation: Math.round((sizes[i] ?? 0) / 10), test: Math.round((sizes[i] ?? 0) / 8) }));
  const scenarios: Scenario[] = ["federated", "global", ...NAMES.map((_, i): Scenario => `local/${i}`)];
  yield {
    type: "run-started", at: at(), journalVersion: 1, name: "dolly", plan: hashOf(12345678901), versions: { fedtune: "0.1.0", node: "24.21.0", onnxruntime: "1.30.0" }, machine: "Linux x64, 2 × Xeon, 8 GB", clients, globalTest: 480,
    trainableParameters: 458_752, baseParameters: 25_829_888, adapterBytes: ADAPTER_BYTES, rounds, localSteps: STEPS, batchSize: BATCH, scenarios,
  };
  yield { type: "note", at: at(), level: "info", text: "2 of 2,143 examples were cut to 512 tokens" };
  yield { type: "note", at: at(), level: "warning", text: "client client-9 <b>& has fewer than 20 validation rows" };
  yield { type: "progress", at: at(1), stage: "encoding", done: 2143, total: 2143 };
  const evaluate = function* (scenario: Evaluated["scenario"], round: number, split: "validation" | "test" | "global-test", only?: number): Iterable<RunEvent> {
    const start = scenario === "base" ? 3.1 : 3.1 - gain(scenario) * (1 - Math.exp(-round / 7)) + (scenario.startsWith("local") ? Math.max(0, round - 9) * 0.012 : 0);
    const of = split === "global-test" ? [] : clients.map((_, client) => client).filter((c) => only === undefined || c === only);
    const rows = of.map((client) => {
      const examples = clients[client]?.[split === "test" ? "test" : "validation"] ?? 0;
      return { client, examples, labelledTokens: examples * 61, nll: examples * 61 * (start + 0.28 * noise(client + 1) + 0.05 * noise(client * 7 + gain(scenario) * 10)) };
    });
    const sum = (key: "examples" | "labelledTokens" | "nll"): number => rows.reduce((n, row) => n + row[key], 0);
    const pooled = split === "global-test" ? { examples: 480, labelledTokens: 480 * 61, nll: 480 * 61 * (start + 0.06 + (only === undefined ? 0 : 0.09 * noise(only + 5))) } : { examples: sum("examples"), labelledTokens: sum("labelledTokens"), nll: sum("nll") };
    yield { type: "evaluated", at: at(2), scenario, round, split, clients: rows, pooled, best: split === "validation" && round !== 15 };
  };
  const onlyClient = (scenario: Scenario): number | undefined => (scenario.startsWith("local/") ? Number(scenario.slice(6)) : undefined);
  const trainRound = function* (scenario: Scenario, round: number): Iterable<RunEvent> {
    const only = onlyClient(scenario);
    const members = scenario === "federated" ? clients.map((_, i) => i) : [only ?? clients.length];
    const roundStart = seconds;
    yield { type: "round-started", at: at(), scenario, round, clients: members };
    const fails = scenario === "federated" && round === 7 ? 4 : -1;
    const lossAt = (client: number): number => 3.15 - gain(scenario) * (1 - Math.exp(-round / 6)) + 0.3 * noise(client + 1) + 0.07 * noise(round * 31 + client * 17);
    for (const client of members) {
      for (let step = 1; step <= STEPS && client !== fails; step++) {
        const skipped = scenario === "federated" && round === 3 && client === 2 && step === 5;
        yield { type: "step", at: at(only === undefined ? 0.9 : 0.1), scenario, round, client, step, loss: skipped ? null : lossAt(client) + 0.1 * noise(step + client * 3 + round), learningRate: 2e-4, gradientNorm: skipped ? null : 0.8, skipped, examples: BATCH, tokens: 480 + Math.round(90 * noise(step * client + round)) };
      }
    }
    const updates = members.filter((c) => c !== fails).map((client) => {
      const skippedSteps = scenario === "federated" && round === 3 && client === 2 ? 1 : 0;
      return { client, weight: clients[client]?.train ?? 1, examples: STEPS * BATCH, tokens: STEPS * 480, steps: STEPS - skippedSteps, skippedSteps, loss: lossAt(client), bytesDown: ADAPTER_BYTES + 8712, bytesUp: ADAPTER_BYTES + 8712 };
    });
    const failures = fails < 0 ? [] : [{ client: fails, code: "resources", reason: "worker 1: expected 310 MB of memory, got 120 MB free" }];
    yield { type: "round-committed", at: at(0.2), scenario, round, adapter: hashOf(round), optimizers: {}, updates, failures, ...(scenario === "federated" ? { crossTerm: 0.021 + 0.05 * (1 - Math.exp(-round / 5)) + 0.004 * noise(round) } : {}), seconds: seconds - roundStart };
  };
  const gain = (scenario: string): number => (scenario === "base" ? 0 : scenario === "federated" ? 0.52 : scenario === "global" ? 0.6 : 0.34);
  yield* evaluate("base", 0, "validation");
  for (const group of [["federated"], ["global"], scenarios.slice(2)] as const) {
    for (let round = 1; round <= rounds; round++) {
      // Clients alone go side by side: each round of all of them before the next.
      for (const scenario of group) yield* trainRound(scenario, round);
      if (round % 5 === 0 || (group[0] === "federated" && round % 2 === 0)) for (const scenario of group) yield* evaluate(scenario, round, "validation", onlyClient(scenario));
    }
  }
  for (const split of ["test", "global-test"] as const) {
    yield* evaluate("base", 0, split);
    for (const scenario of scenarios) yield* evaluate(scenario, rounds, split, onlyClient(scenario));
  }
  const prompt = "Write a short letter to a neighbour who waters the plants.";
  yield { type: "sampled", at: at(1), scenario: "base", prompt, text: "The neighbour neighbour is a plants of the plants. <script>alert(1)</script> It is important to water the the water." };
  yield { type: "sampled", at: at(1), scenario: "federated", prompt, text: "Dear Ms Petersen,\n\nthank you for watering our plants while we are away. The ferns like it twice a week, the cactus not at all.\n\nBest wishes,\nAnna" };
  yield { type: "run-finished", at: at(), kept: { scenario: "federated", best: hashOf(18), last: hashOf(rounds), bestRound: 18, lastRound: rounds, chosen: "best" }, seconds };
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
