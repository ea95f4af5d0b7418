/**
 * What the paper says in words, held against the cells: confirmed, contradicted or undecided, by bootstrap intervals of
 * differences between scenarios on the same questions. Pure; same numbers every time.
 */
import { randomKey, randomWords } from "../../src/core/base/random.ts";
import { percentile } from "../../src/llm/evaluation/statistics.ts";
import type { Cell, Measure, Pair, Scenario } from "./cell.ts";

const RESAMPLES = 2000;

export interface Estimate {
  readonly value: number;
  /** 95 % confidence interval. */
  readonly low: number;
  readonly high: number;
}

export type Verdict = "confirmed" | "contradicted" | "undecided";

/** One comparison behind a statement. */
export interface Comparison {
  readonly federation: string;
  /** What was compared, such as `lora` or `lora against prompt`. */
  readonly subject: string;
  readonly measure: string;
  /** In the measure's own unit; positive speaks for the statement. */
  readonly estimate: Estimate;
  readonly verdict: Verdict;
  readonly seeds: number;
  readonly questions: number;
}

/** One seed's answers: those of each arm to the same questions. */
export type Arms = readonly (readonly Pair[])[];

/**
 * A statistic of seeds' answers and its 95 % interval, by a bootstrap of two levels: seeds with replacement, and in each the
 * questions (percentiles; Efron and Tibshirani 1993, ch. 13). With one seed only the questions are drawn.
 * @param statistic of the arms' ratios (sum of numerators over sum of denominators)
 */
export function estimate(seeds: readonly Arms[], statistic: (ratios: readonly number[]) => number): Estimate {
  const key = randomKey(0, "statements");
  const of = (arms: Arms, indices: readonly number[] | undefined): number => statistic(arms.map((pairs) => ratio(pairs, indices)));
  const value = mean(seeds.map((arms) => of(arms, undefined)));
  const draws = Array.from({ length: RESAMPLES }, (_, sample) => {
    const chosen = seeds.length === 1 ? [0] : indicesOf(randomWords(key, [sample, 0], seeds.length), seeds.length);
    return mean(chosen.map((seed, i) => {
      const arms = seeds[seed] ?? [];
      const count = arms[0]?.length ?? 0;
      return of(arms, indicesOf(randomWords(key, [sample, i + 1], count), count));
    }));
  }).sort((a, b) => a - b);
  return { value, low: percentile(draws, 0.025), high: percentile(draws, 0.975) };
}

const indicesOf = (words: Uint32Array, count: number): readonly number[] => Array.from(words, (word) => Math.floor((word / 0x100000000) * count));
const mean = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length;

/** Sum of numerators over sum of denominators, of the pairs at `indices` or of all. */
export function ratio(pairs: readonly Pair[], indices?: readonly number[]): number {
  let [top, bottom] = [0, 0];
  for (const i of indices ?? pairs.keys()) {
    const [a, b] = pairs[i] ?? [NaN, NaN];
    top += a;
    bottom += b;
  }
  return top / bottom;
}

/** Above 0 for certain, below for certain, or neither. */
export function verdictOn({ low, high }: Estimate): Verdict {
  return low > 0 ? "confirmed" : high < 0 ? "contradicted" : "undecided";
}

/** One verdict over many: all confirmed, all contradicted, or else undecided; of none it is undecided. */
function verdictOver(comparisons: readonly Comparison[]): Verdict {
  const [first] = comparisons;
  return first !== undefined && comparisons.every(({ verdict }) => verdict === first.verdict) ? first.verdict : "undecided";
}

export interface Statement {
  readonly id: "federated-beats-local" | "lora-does-best" | "gap-is-small";
  /** In words, with the rule by which it is judged. */
  readonly says: string;
  readonly comparisons: readonly Comparison[];
  readonly verdict: Verdict;
}

/** What of the pooled data's gain the federation must reach for the gap to count as small. */
const SMALL_GAP = 0.9;

interface Row {
  readonly federation: string;
  readonly method: string;
  readonly label: string;
  readonly better: Measure["better"];
  /** Measures of the same label. */
  readonly seeds: readonly { readonly seed: number; readonly measure: Measure }[];
}

/** Cells of one federation and method with their measures by label. */
function rowsOf(cells: readonly Cell[]): readonly Row[] {
  return [...Map.groupBy(cells, ({ federation, method }) => `${federation} ${method}`).values()].flatMap((group) =>
    [...Map.groupBy(group.flatMap(({ seed, measures }) => measures.map((measure) => ({ seed, measure }))), ({ measure }) => measure.label)].map(([label, seeds]) => ({ federation: group[0]?.federation ?? "", method: group[0]?.method ?? "", label, better: seeds[0]?.measure.better ?? "higher", seeds })),
  );
}

/** Answers of some scenarios in every seed that has them all. */
function armsOf({ seeds }: Row, scenarios: readonly Scenario[]): readonly Arms[] {
  return seeds.flatMap(({ measure }) => {
    const arms = scenarios.flatMap((scenario) => (measure.scenarios[scenario] === undefined ? [] : [measure.scenarios[scenario]]));
    return arms.length === scenarios.length ? [arms] : [];
  });
}

function compare(row: Row, subject: string, arms: readonly Arms[], statistic: (ratios: readonly number[]) => number): readonly Comparison[] {
  if (arms.length === 0) return [];
  const sign = row.better === "higher" ? 1 : -1;
  const found = estimate(arms, (ratios) => sign * statistic(ratios));
  return [{ federation: row.federation, subject, measure: row.label, estimate: found, verdict: verdictOn(found), seeds: arms.length, questions: arms[0]?.[0]?.length ?? 0 }];
}

/** The three statements, judged by all cells there are. */
export function judge(cells: readonly Cell[]): readonly Statement[] {
  const rows = rowsOf(cells);
  const beats = rows.flatMap((row) => compare(row, row.method, armsOf(row, ["federated", "local"]), ([federated = NaN, local = NaN]) => federated - local));
  const gaps = rows.flatMap((row) => compare(row, row.method, armsOf(row, ["base", "global", "federated"]), ([base = NaN, pooled = NaN, federated = NaN]) => federated - base - SMALL_GAP * (pooled - base)));
  const best = rows.filter(({ method }) => method === "lora").flatMap((lora) =>
    rows
      .filter(({ federation, label, method }) => federation === lora.federation && label === lora.label && method !== "lora")
      .flatMap((other) => compare(lora, `lora against ${other.method}`, pairSeeds(lora, other), ([own = NaN, others = NaN]) => own - others)),
  );
  const statement = (id: Statement["id"], says: string, comparisons: readonly Comparison[]): Statement => ({ id, says, comparisons, verdict: verdictOver(comparisons) });
  return [
    statement("federated-beats-local", "The federation beats clients that train alone (federated less local).", beats),
    statement("lora-does-best", "LoRA does best under federation (federated LoRA less every other method, federated).", best),
    statement("gap-is-small", `The gap to pooled data is small: the federation reaches at least ${Math.round(100 * SMALL_GAP)} % of what pooled data gain over the base.`, gaps),
  ];
}

/** The federation's answers of two methods side by side, in the seeds that both have: a seed's questions are the same for both. */
function pairSeeds(a: Row, b: Row): readonly Arms[] {
  return a.seeds.flatMap(({ seed, measure }) => {
    const other = b.seeds.find((s) => s.seed === seed)?.measure.scenarios.federated;
    const own = measure.scenarios.federated;
    return own === undefined || other === undefined ? [] : [[own, other]];
  });
}
