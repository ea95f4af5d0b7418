/** Figures with 95 % confidence intervals, from what questions scored. */
import { must } from "../../core/base/errors.ts";
import { randomKey, randomWords } from "../../core/base/random.ts";
import type { Figure, Judged } from "./benchmark.ts";

/** Of the standard normal distribution: 95 % lie within. */
const Z = 1.959963984540054;
/** Samples drawn for a bootstrap. */
const RESAMPLES = 1000;

export interface Interval {
  readonly low: number;
  readonly high: number;
}

/** Wilson's score interval of `successes` of `trials` (Wilson 1927); [0, 1] of none. */
export function wilson(successes: number, trials: number): Interval {
  if (trials === 0) return { low: 0, high: 1 };
  const p = successes / trials;
  const z2 = Z * Z;
  const centre = (p + z2 / (2 * trials)) / (1 + z2 / trials);
  const half = (Z / (1 + z2 / trials)) * Math.sqrt((p * (1 - p)) / trials + z2 / (4 * trials * trials));
  // Exact at the ends, where rounding would leave a last digit.
  return { low: successes === 0 ? 0 : centre - half, high: successes === trials ? 1 : centre + half };
}

/** Percentile bootstrap (Efron and Tibshirani 1993) of a statistic of `count` questions drawn with replacement; the same numbers every time. */
export function bootstrap(count: number, statistic: (indices: Uint32Array) => number): Interval {
  const key = randomKey(0, "bootstrap");
  const values = Float64Array.from({ length: RESAMPLES }, (_, sample) => {
    // A 32-bit word times a count below 2^21 is exact in a double.
    return statistic(randomWords(key, [sample], count).map((word) => Math.floor((word / 0x100000000) * count)));
  }).sort();
  return { low: percentile(values, 0.025), high: percentile(values, 0.975) };
}

/** Linear between the two nearest of sorted values, as NumPy's default. */
export function percentile(sorted: ArrayLike<number>, share: number): number {
  const at = share * (sorted.length - 1);
  const [lower, upper] = [sorted[Math.floor(at)] ?? NaN, sorted[Math.ceil(at)] ?? NaN];
  return lower + (upper - lower) * (at - Math.floor(at));
}

type Group = NonNullable<Figure["group"]>;

/** What a figure is made of. */
export interface FigureOptions {
  readonly name: string;
  readonly group?: Group;
}

const scoresOf = (judged: readonly Judged[], score: string): Float64Array => Float64Array.from(judged, ({ id, judgement }) => must(judgement.scores[score], `${id}: score ${score}`));
const sum = (values: Float64Array): number => values.reduce((a, b) => a + b, 0);
const named = ({ name, group }: FigureOptions): FigureOptions => ({ name, ...(group === undefined ? {} : { group }) });

/** The share of questions with score 1 of 0 and 1, with Wilson's interval. */
export function proportion(judged: readonly Judged[], score: string, options: FigureOptions): Figure {
  const right = sum(scoresOf(judged, score));
  return { ...named(options), unit: "share", value: right / judged.length, ...wilson(right, judged.length), interval: "wilson", questions: judged.length };
}

/** The mean of a score between 0 and 1, with the bootstrap's interval over questions. */
export function mean(judged: readonly Judged[], score: string, options: FigureOptions): Figure {
  const scores = scoresOf(judged, score);
  const interval = bootstrap(scores.length, (indices) => indices.reduce((total, i) => total + (scores[i] ?? 0), 0) / indices.length);
  return { ...named(options), unit: "share", value: sum(scores) / scores.length, ...interval, interval: "bootstrap", questions: scores.length };
}

/** exp(Σ numerator / Σ denominator), a perplexity of losses and tokens, with the bootstrap's interval over questions. */
export function perplexity(judged: readonly Judged[], { loss, tokens, ...options }: FigureOptions & { readonly loss: string; readonly tokens: string }): Figure {
  const [losses, counts] = [scoresOf(judged, loss), scoresOf(judged, tokens)];
  const of = (indices: Iterable<number>): number => {
    let [total, count] = [0, 0];
    for (const i of indices) {
      total += losses[i] ?? 0;
      count += counts[i] ?? 0;
    }
    return Math.exp(total / count);
  };
  return { ...named(options), unit: "number", better: "lower", value: of(losses.keys()), ...bootstrap(losses.length, of), interval: "bootstrap", questions: losses.length };
}

/** One figure for each value that a fact has, in the order of their names; questions without the fact are in none. */
export function byGroup(judged: readonly Judged[], { kind, fact }: { readonly kind: string; readonly fact: string }, make: (part: readonly Judged[], group: Group) => Figure): readonly Figure[] {
  const parts = Map.groupBy(judged, ({ facts }) => facts[fact]);
  const names = [...parts].flatMap(([value, part]) => (value === undefined || value === null ? [] : [{ name: typeof value === "string" ? value : JSON.stringify(value), part }]));
  return names.sort((a, b) => a.name.localeCompare(b.name, "en", { numeric: true })).map(({ name, part }) => make(part, { kind, name }));
}
