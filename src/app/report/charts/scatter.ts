/** Validation loss against a benchmark's score, a point for each run and scenario. */
import type { ScatterFigure } from "../compare/scatters.ts";
import type { ComparedScenario } from "../compare/tables.ts";
import { AXIS } from "./draw.ts";
import type { Chart, LegendEntry } from "./draw.ts";

const LOOKS = {
  local: { color: "var(--alone)", shape: "diamond" },
  global: { color: "var(--pooled)", shape: "square" },
  federated: { color: "var(--federated)", shape: "dot" },
} as const satisfies Record<Exclude<ComparedScenario, "base">, Pick<LegendEntry, "color" | "shape">>;
const SYMBOLS = { diamond: "diamond", square: "rect", dot: "circle" } as const;

/** The chart; its legend has the scenarios that have points. */
export function scatterChart(id: string, { federation, title, unit, points }: ScatterFigure): Chart {
  const scale = unit === "share" ? 100 : 1;
  const shown = (["local", "global", "federated"] as const).filter((scenario) => points.some((p) => p.scenario === scenario));
  return {
    id,
    legend: shown.map((scenario) => ({ label: scenario, ...LOOKS[scenario] })),
    description: `Validation loss against ${title} in ${federation}: ${points.length} points`,
    heightPx: (size) => (size === "wide" ? 340 : 280),
    option: (size) => ({
      grid: { left: 8, right: 16, top: 30, bottom: 30, outerBoundsMode: "same", outerBoundsContain: "axisLabel" },
      xAxis: { type: "value", scale: true, splitNumber: size === "wide" ? 8 : 4, name: "validation loss, nats per token", nameLocation: "middle", nameGap: 28, nameTextStyle: AXIS.name, axisLine: { ...AXIS.line, onZero: false }, axisTick: { show: false }, axisLabel: { ...AXIS.label, hideOverlap: true }, splitLine: { show: false } },
      yAxis: { type: "value", scale: true, splitNumber: 4, name: title, nameTextStyle: { ...AXIS.name, align: "left", padding: [0, 0, 0, -28] }, axisLabel: { ...AXIS.label, ...(unit === "share" && { formatter: "{value} %" }) }, splitLine: AXIS.split },
      series: shown.map((scenario) => ({
        type: "scatter", silent: true, symbol: SYMBOLS[LOOKS[scenario].shape], symbolSize: 9, itemStyle: { color: LOOKS[scenario].color, opacity: 0.85 },
        data: points.filter((p) => p.scenario === scenario).map(({ loss, score }) => [loss, score * scale]),
      })),
    }),
  };
}
