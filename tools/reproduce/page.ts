/** The results page: tables by federation and method, the paper's statements with their verdicts, and what the plots show. */
import { formatNumber, markdownTable } from "../bench/tables.ts";
import { SCENARIOS, type Cell, type Measure, type Scenario } from "./cell.ts";
import { intervalPlot } from "./plot.ts";
import { estimate, judge, ratio, type Comparison, type Estimate, type Statement } from "./statements.ts";

export interface Page {
  readonly markdown: string;
  /** Plots by file name. */
  readonly plots: Readonly<Record<string, string>>;
}

export interface PageOptions {
  /** Cells that the whole has, those that are not done included. */
  readonly wanted: number;
  /** Folder of the plots, as the page names it. */
  readonly imageFolder: string;
}

const TITLES: Readonly<Record<Scenario, string>> = { base: "base", local: "local", global: "global", federated: "federated" };

/** How a measure's value is shown: a loss as the perplexity that it gives, anything else as percent. */
interface Shown {
  readonly name: string;
  readonly of: (value: number) => number;
  readonly format: (value: number) => string;
}
const shownOf = ({ benchmark, label }: Pick<Measure, "benchmark" | "label">): Shown =>
  benchmark === "perplexity" ? { name: `${label}, lower is better`, of: Math.exp, format: (x) => formatNumber(x, 2) } : { name: `${label}, %`, of: (x) => 100 * x, format: (x) => formatNumber(x, 1) };

/** A measure of one federation and method over its seeds. */
interface Line {
  readonly method: string;
  readonly cells: readonly Cell[];
  readonly measures: readonly Measure[];
}

function linesOf(cells: readonly Cell[], label: string): readonly Line[] {
  return [...Map.groupBy(cells, ({ method }) => method)].map(([method, own]) => ({ method, cells: own, measures: own.flatMap(({ measures }) => measures.filter((m) => m.label === label)) }));
}

function estimateOf({ measures }: Line, scenario: Scenario): Estimate | undefined {
  const arms = measures.flatMap((measure) => (measure.scenarios[scenario] === undefined ? [] : [[measure.scenarios[scenario]]]));
  return arms.length === 0 ? undefined : estimate(arms, ([value = NaN]) => value);
}

/** Mean over seeds, ± sample standard deviation where there are several. */
function cellText({ measures }: Line, scenario: Scenario, shown: Shown): string {
  const values = measures.flatMap((m) => (m.scenarios[scenario] === undefined ? [] : [shown.of(ratio(m.scenarios[scenario]))]));
  if (values.length === 0) return "–";
  const mean = values.reduce((a, b) => a + b, 0) / values.length;
  if (values.length === 1) return shown.format(mean);
  return `${shown.format(mean)} ± ${shown.format(Math.sqrt(values.reduce((sum, x) => sum + (x - mean) ** 2, 0) / (values.length - 1)))}`;
}

function measureTable(cells: readonly Cell[], label: string): string {
  const measure = cells.flatMap(({ measures }) => measures).find((m) => m.label === label);
  if (measure === undefined) return "";
  const shown = shownOf(measure);
  const rows = linesOf(cells, label).map((line) => {
    const means = SCENARIOS.map((scenario) => estimateOf(line, scenario)?.value);
    const sign = measure.better === "higher" ? 1 : -1;
    const best = means.indexOf([...means].filter((value) => value !== undefined).toSorted((a, b) => sign * (b - a))[0]);
    return [line.method, String(line.measures.length), ...SCENARIOS.map((scenario, i) => (i === best ? `**${cellText(line, scenario, shown)}**` : cellText(line, scenario, shown)))];
  });
  return `**${shown.name}**\n\n${markdownTable(["method", "seeds", ...SCENARIOS.map((scenario) => TITLES[scenario])], rows)}`;
}

function efficiencyTable(cells: readonly Cell[]): string {
  const rows = cells.filter(({ bytesUp }) => bytesUp > 0).map((c) => [c.federation, c.method, String(c.seed), c.trainableParameters.toLocaleString("en-US"), `${formatNumber(c.bytesDown / 1e6, 2)} / ${formatNumber(c.bytesUp / 1e6, 2)}`, formatNumber(c.secondsPerRound ?? NaN, 1), formatNumber((c.peakBytes ?? NaN) / 1e6, 0), formatNumber(c.seconds / 60, 1)]);
  return markdownTable(["federation", "method", "seed", "trained parameters", "MB down / up a message", "s a round", "peak MB", "min in all"], rows);
}

const SIGNS = { confirmed: "confirmed", contradicted: "**contradicted**", undecided: "undecided" } as const;

function statementSection({ says, comparisons, verdict }: Statement): string {
  const unit = ({ measure }: Comparison): Pick<Shown, "of" | "format"> => (measure.startsWith("perplexity") ? { of: (x) => x, format: (x) => formatNumber(x, 3) } : { of: (x) => 100 * x, format: (x) => formatNumber(x, 1) });
  const rows = comparisons.map((c) => {
    const { of, format } = unit(c);
    const { value, low, high } = c.estimate;
    return [c.federation, c.subject, c.measure, `${format(of(value))} (${format(of(low))} to ${format(of(high))})`, SIGNS[c.verdict], `${c.seeds} × ${c.questions}`];
  });
  const table = rows.length === 0 ? "Nothing was compared yet." : markdownTable(["federation", "method", "measure", "difference (95 %)", "so", "seeds × questions"], rows);
  return `### ${says}\n\nOver all of it: ${SIGNS[verdict]}.\n\n${table}`;
}

/** The verdict, and how many of the comparisons speak which way. */
function inShort({ comparisons, verdict }: Statement): string {
  const count = (of: Comparison["verdict"]): number => comparisons.filter((c) => c.verdict === of).length;
  return comparisons.length === 0 ? SIGNS[verdict] : `${SIGNS[verdict]}: of ${comparisons.length} comparisons ${count("confirmed")} confirm it, ${count("contradicted")} contradict it`;
}

/** Machines and versions that cells were made with; of several, how many cells each made. */
function madeOn(cells: readonly Cell[]): string {
  const groups = [...Map.groupBy(cells, ({ machine, versions }) => [machine, Object.entries(versions).map(([name, version]) => `${name} ${version}`).join(", ")].join("; "))];
  return groups.map(([text, made]) => (groups.length === 1 ? text : `${made.length} on ${text}`)).join(". ");
}

/** The page and its plots from all finished cells; throws where there is none. */
export function writePage(cells: readonly Cell[], { wanted, imageFolder }: PageOptions): Page {
  if (cells.length === 0) throw new Error("results: expected a finished cell, got none");
  const plots: Record<string, string> = {};
  const sections = [...Map.groupBy(cells, ({ federation }) => federation)].map(([federation, own]) => {
    const labels = [...new Set(own.flatMap(({ measures }) => measures.map(({ label }) => label)))];
    const parts = labels.map((label) => {
      const measure = own.flatMap(({ measures }) => measures).find((m) => m.label === label);
      const shown = shownOf(measure ?? { benchmark: label, label });
      const lines = linesOf(own, label);
      const file = `results-${federation}-${label}.svg`.replace(/[^\w.-]+/g, "-");
      plots[file] = intervalPlot({
        title: shown.name, categories: lines.map(({ method }) => method), format: shown.format,
        series: SCENARIOS.map((scenario) => ({ name: TITLES[scenario], color: `var(--${scenario})`, values: lines.map((line) => mapped(estimateOf(line, scenario), shown.of)) })),
      });
      return `${measureTable(own, label)}\n\n![${label} on ${federation}: values with 95 % intervals](${imageFolder}/${file})`;
    });
    return `### ${federation}: ${own[0]?.clients ?? 0} clients\n\n${parts.join("\n\n")}`;
  });
  const statements = judge(cells);
  const seeds = new Set(cells.map(({ seed }) => seed)).size;
  const markdown = [
    `${cells.length} of ${wanted} cells; ${madeOn(cells)}.`,
    markdownTable(["what the paper says", "here"], statements.map((statement) => [statement.says, inShort(statement)])),
    "## Tables and plots",
    `Mean over ${seeds === 1 ? "one seed" : `${seeds} seeds, ± sample standard deviation`}; the best of each row in bold. **local**: each client alone, the mean over clients. **global**: all data pooled, as many steps as one client takes. Every scenario is asked the same held-out questions. Bars in the plots are 95 % intervals by a bootstrap over seeds and questions.`,
    ...sections,
    "## The statements",
    "Differences are taken on the same questions, with 95 % intervals by a bootstrap over seeds and questions (percentiles, 2,000 draws); positive speaks for the statement; perplexity is compared by its logarithm, the loss in nats a token, all else in points of percent. Confirmed: the whole interval is above 0. Contradicted: below. A statement holds over all of it only where every line agrees.",
    ...statements.map(statementSection),
    "## What it cost",
    efficiencyTable(cells),
  ].join("\n\n");
  return { markdown, plots };
}

/** An estimate on another scale; one that grows. */
function mapped(estimated: Estimate | undefined, of: (value: number) => number): Estimate | undefined {
  return estimated && { value: of(estimated.value), low: of(estimated.low), high: of(estimated.high) };
}
