import { expect, it } from "vitest";
import type { Cell, Measure, Pair, Scenario } from "./cell.ts";
import { writePage } from "./page.ts";

const scores = (by: number): Pair[] => Array.from({ length: 40 }, (_, i): Pair => [0.2 + by + 0.01 * (i % 9), 1]);
const losses = (by: number): Pair[] => Array.from({ length: 40 }, (_, i): Pair => [(3 - by + 0.02 * (i % 6)) * (20 + i), 20 + i]);
const GAIN: Readonly<Record<Scenario, number>> = { base: 0, local: 0.05, global: 0.1, federated: 0.11 };
const scenarios = (of: (by: number) => Pair[], factor: number): Measure["scenarios"] => ({ base: of(0), local: of(GAIN.local * factor), global: of(GAIN.global * factor), federated: of(GAIN.federated * factor) });
const cell = (federation: string, method: string, seed: number): Cell => ({
  version: 1, key: "k", federation, method, label: "", seed, clients: 3, machine: "a machine", versions: { fedtune: "0.1.0" }, seconds: 600, trainableParameters: 458_752, bytesDown: 1_843_720, bytesUp: 1_843_720, secondsPerRound: 31.25, peakBytes: 812_000_000, rounds: [],
  measures: [
    { label: "perplexity", benchmark: "perplexity", better: "lower", scenarios: scenarios(losses, (method === "lora" ? 1 : 0.3) * (1 + seed / 50)) },
    { label: "rouge-l", benchmark: "rouge-l", better: "higher", scenarios: scenarios(scores, (method === "lora" ? 1 : 0.3) * (1 + seed / 50)) },
  ],
});

it("has a table and a plot for each federation and measure, the best in bold, and a verdict for each statement", () => {
  const cells = ["fed-a", "fed-b"].flatMap((federation) => ["lora", "prompt"].flatMap((method) => [1, 2].map((seed) => cell(federation, method, seed))));
  const { markdown, plots } = writePage(cells, { wanted: 12, imageFolder: "images" });
  expect(markdown).toContain("8 of 12 cells");
  expect(Object.keys(plots)).toEqual(["results-fed-a-perplexity.svg", "results-fed-a-rouge-l.svg", "results-fed-b-perplexity.svg", "results-fed-b-rouge-l.svg"]);
  for (const svg of Object.values(plots)) expect(svg).toMatch(/^<svg[\s\S]*prefers-color-scheme:dark[\s\S]*<\/svg>$/);
  expect(writePage(cells, { wanted: 12, imageFolder: "images" }).plots).toEqual(plots);
  // 0.2 + 0.11 · 1.02 (or 1.04) + the mean of 0 … 0.08 over 40 rows, 0.0375 (four rows of each remainder, and 0, 1, 2, 3 more); halves may fall either way.
  expect(markdown).toMatch(/\| lora \| 2 \| 23\.[78] ± 0\.0 \| 28\.9 ± 0\.1 \| 34\.[01] ± 0\.1 \| \*\*35\.1 ± 0\.2\*\* \|/);
  expect(markdown.match(/\| confirmed \|/g)?.length).toBeGreaterThanOrEqual(3);
  expect(markdown).toContain("| fed-a | lora | 1 | 458,752 | 1.84 / 1.84 | 31.3 | 812 | 10.0 |");
});

it("names every machine with the cells that it made, and how many comparisons speak which way", () => {
  const cells = [cell("fed-a", "lora", 1), cell("fed-a", "prompt", 1), { ...cell("fed-a", "lora", 2), machine: "another" }];
  const { markdown } = writePage(cells, { wanted: 3, imageFolder: "images" });
  expect(markdown).toContain("3 of 3 cells; 2 on a machine; fedtune 0.1.0. 1 on another; fedtune 0.1.0.");
  expect(markdown).toMatch(/\| The federation beats [^|]*\| \w+: of 4 comparisons \d confirm it, 0 contradict it \|/);
});

it("says what is not there yet", () => {
  const { markdown } = writePage([cell("fed-a", "lora", 1)], { wanted: 3, imageFolder: "images" });
  expect(markdown).toContain("Nothing was compared yet.");
  expect(markdown).toContain("undecided");
  expect(() => writePage([], { wanted: 3, imageFolder: "images" })).toThrow(/expected a finished cell/);
});
