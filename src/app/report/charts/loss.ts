/** Loss per round: each client faint, the federation bold, its validation loss and the baselines as lines of their own. */
import type { RoundCommitted, RunFacts } from "../facts.ts";
import { validationPoints } from "../validation.ts";
import type { Point } from "../validation.ts";
import { AXIS } from "./draw.ts";
import type { Chart, LegendEntry } from "./draw.ts";

interface Line {
  readonly label: string;
  readonly points: readonly Point[];
  readonly style: { readonly color: string; readonly width: number; readonly type: "solid" | "dashed" | "dotted"; readonly opacity?: number };
  readonly shape: LegendEntry["shape"];
}

/** The chart; undefined before the first round of the federation. */
export function lossChart(id: string, facts: RunFacts): Chart | undefined {
  const commits = facts.commits.get("federated") ?? [];
  if (commits.length === 0) return undefined;
  const clients = clientLines(commits);
  const lines = [...sharedLines(facts, commits)];
  const legend: LegendEntry[] = [
    { label: "each client, training", color: "var(--faint)", shape: "thin" },
    ...lines.map(({ label, style, shape }) => ({ label, color: style.color, shape })),
  ];
  const lastRound = Math.max(1, facts.started?.rounds ?? 0, ...commits.map((c) => c.round));
  return {
    id,
    legend,
    description: `Loss per round over ${lastRound} rounds: ${legend.map((l) => l.label).join(", ")}`,
    heightPx: (size) => (size === "wide" ? 380 : 300),
    option: (size) => ({
      grid: { left: 8, right: 14, top: 30, bottom: 28, outerBoundsMode: "same", outerBoundsContain: "axisLabel" },
      xAxis: { type: "value", min: 0, max: lastRound, minInterval: 1, splitNumber: size === "wide" ? 10 : 5, name: "round", nameLocation: "middle", nameGap: 26, nameTextStyle: AXIS.name, axisLine: AXIS.line, axisTick: { show: false }, axisLabel: AXIS.label, splitLine: { show: false } },
      yAxis: { type: "value", scale: true, name: "loss, nats per token", nameTextStyle: { ...AXIS.name, align: "left", padding: [0, 0, 0, -28] }, axisLabel: AXIS.label, splitLine: AXIS.split },
      series: [...clients, ...lines].map((line) => ({ type: "line", silent: true, showSymbol: line.points.length === 1, symbolSize: 5, data: line.points.map((p) => [...p]), itemStyle: { color: line.style.color }, lineStyle: line.style })),
    }),
  };
}

function clientLines(commits: readonly RoundCommitted[]): Line[] {
  const points = new Map<number, Point[]>();
  for (const { round, updates } of commits) {
    for (const { client, loss } of updates) {
      if (loss !== null) points.set(client, [...(points.get(client) ?? []), [round, loss]]);
    }
  }
  return [...points.values()].map((of) => ({ label: "", points: of, style: { color: "var(--faint)", width: 1.2, type: "solid" }, shape: "thin" }));
}

function* sharedLines(facts: RunFacts, commits: readonly RoundCommitted[]): Iterable<Line> {
  yield { label: "all clients, training", points: commits.flatMap(meanLoss), style: { color: "var(--federated)", width: 3.2, type: "solid" }, shape: "line" };
  const validation = validationPoints(facts.evaluations, "federated");
  const base = validationPoints(facts.evaluations, "base")[0];
  const start: Point[] = base === undefined || validation.some(([round]) => round === 0) ? [] : [[0, base[1]]];
  if (validation.length > 0) yield { label: "federated, validation", points: [...start, ...validation], style: { color: "var(--validation)", width: 2.4, type: "solid" }, shape: "line" };
  const pooled = validationPoints(facts.evaluations, "global");
  if (pooled.length > 0) yield { label: "pooled data, validation", points: [...start, ...pooled], style: { color: "var(--pooled)", width: 2, type: "dashed" }, shape: "dashed" };
  const alone = alonePoints(facts);
  if (alone.length > 0) yield { label: "clients alone, validation", points: [...start, ...alone], style: { color: "var(--alone)", width: 2, type: "dashed" }, shape: "dashed" };
  const last = facts.started?.rounds ?? commits.at(-1)?.round ?? 1;
  if (base !== undefined) yield { label: "base, validation", points: [[0, base[1]], [last, base[1]]], style: { color: "var(--base)", width: 2, type: "dotted" }, shape: "dotted" };
}

/** Mean training loss of a round, each client by its weight in the average. */
function meanLoss({ round, updates }: RoundCommitted): Point[] {
  let loss = 0;
  let weight = 0;
  for (const update of updates) {
    if (update.loss === null) continue;
    loss += update.loss * update.weight;
    weight += update.weight;
  }
  return weight === 0 ? [] : [[round, loss / weight]];
}

/** The clients alone, each on its own validation rows, together; only rounds in which all of them were evaluated. */
function alonePoints(facts: RunFacts): Point[] {
  const rounds = new Map<number, { clients: number; nll: number; tokens: number }>();
  for (const e of facts.evaluations) {
    if (!e.scenario.startsWith("local/") || e.split !== "validation" || e.pooled.nll === null) continue;
    const sum = rounds.get(e.round) ?? { clients: 0, nll: 0, tokens: 0 };
    rounds.set(e.round, { clients: sum.clients + 1, nll: sum.nll + e.pooled.nll, tokens: sum.tokens + e.pooled.labelledTokens });
  }
  return [...rounds]
    .filter(([, { clients, tokens }]) => clients === facts.started?.clients.length && tokens > 0)
    .map(([round, { nll, tokens }]): Point => [round, nll / tokens])
    .sort((a, b) => a[0] - b[0]);
}
