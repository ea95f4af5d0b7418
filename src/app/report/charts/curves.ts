/** Validation loss of the federation over its rounds, a line for each row of a comparison; its seeds thin behind it. */
import type { CurveFigure, CurveLine } from "../compare/curves.ts";
import { labelOf } from "../compare/rows.ts";
import { AXIS } from "./draw.ts";
import type { Chart, LegendEntry } from "./draw.ts";

/** As many as can be told apart; from the fifth on dashed, for print without colours. The rest are grey. */
const MOST_LINES = 8;

interface Look {
  readonly color: string;
  readonly type: "solid" | "dashed";
  readonly shape: LegendEntry["shape"];
}

const lookOf = (index: number): Look => ({ color: `var(--l${index + 1})`, ...(index < MOST_LINES / 2 ? { type: "solid", shape: "line" } : { type: "dashed", shape: "dashed" }) });
const OTHER: Look = { color: "var(--faint)", type: "solid", shape: "thin" };

/** The looks of all rows by label: the same in every figure while there are few, else the lowest losses of each figure. */
export function curveLooks(figures: readonly CurveFigure[]): (figure: CurveFigure) => ReadonlyMap<string, Look> {
  const labels = [...new Set(figures.flatMap(({ lines }) => lines.map(labelOf)))];
  if (labels.length <= MOST_LINES) return () => new Map(labels.map((label, i) => [label, lookOf(i)]));
  const last = ({ mean }: CurveLine): number => mean.at(-1)?.[1] ?? Infinity;
  return ({ lines }) => new Map(lines.toSorted((a, b) => last(a) - last(b)).slice(0, MOST_LINES).map((line, i) => [labelOf(line), lookOf(i)]));
}

/** The chart of one federation. */
export function curveChart(id: string, figure: CurveFigure, looks: ReadonlyMap<string, Look>): Chart {
  const { federation, lines } = figure;
  const of = (line: CurveLine): Look => looks.get(labelOf(line)) ?? OTHER;
  const others = lines.filter((line) => of(line) === OTHER).length;
  const legend: LegendEntry[] = lines.filter((line) => of(line) !== OTHER).map((line) => ({ label: labelOf(line), ...of(line) }));
  if (others > 0) legend.push({ label: `${others} others with higher losses`, ...OTHER });
  const lastRound = Math.max(1, ...lines.flatMap(({ seeds }) => seeds.flatMap(({ points }) => points.map(([round]) => round))));
  const seriesOf = (line: CurveLine): object[] => {
    const { color, type } = of(line);
    const z = of(line) === OTHER ? 1 : 2;
    const thin = line.seeds.length < 2 ? [] : line.seeds.map(({ points }) => ({ type: "line", silent: true, showSymbol: false, z, data: points.map((p) => [...p]), lineStyle: { color, width: 1, opacity: 0.35 } }));
    return [...thin, { type: "line", silent: true, showSymbol: line.mean.length === 1, symbolSize: 5, z: z + 1, data: line.mean.map((p) => [...p]), itemStyle: { color }, lineStyle: { color, width: of(line) === OTHER ? 1.2 : 2.4, type } }];
  };
  return {
    id,
    legend,
    description: `Validation loss of ${federation} over ${lastRound} rounds: ${legend.map((l) => l.label).join(", ")}`,
    heightPx: (size) => (size === "wide" ? 360 : 280),
    option: (size) => ({
      grid: { left: 8, right: 14, top: 30, bottom: 28, outerBoundsMode: "same", outerBoundsContain: "axisLabel" },
      xAxis: { type: "value", min: 0, max: lastRound, minInterval: 1, splitNumber: size === "wide" ? 10 : 5, name: "round", nameLocation: "middle", nameGap: 26, nameTextStyle: AXIS.name, axisLine: AXIS.line, axisTick: { show: false }, axisLabel: AXIS.label, splitLine: { show: false } },
      yAxis: { type: "value", scale: true, splitNumber: 4, name: "loss, nats per token", nameTextStyle: { ...AXIS.name, align: "left", padding: [0, 0, 0, -28] }, axisLabel: AXIS.label, splitLine: AXIS.split },
      series: lines.flatMap(seriesOf),
    }),
  };
}
