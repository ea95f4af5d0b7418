/** One stacked horizontal bar per client: who holds how many rows (by split or category), and bytes down and up. */
import { formatBytes, formatCount } from "../format.ts";
import { AXIS } from "./draw.ts";
import type { Chart } from "./draw.ts";

export interface BarPart {
  readonly label: string;
  /** A CSS colour or variable. */
  readonly color: string;
  /** One value per client. */
  readonly values: readonly number[];
}

export interface Bars {
  readonly id: string;
  readonly description: string;
  readonly names: readonly string[];
  readonly parts: readonly BarPart[];
  readonly unit: "rows" | "bytes";
}

/** The chart: clients from top to bottom in their order, parts from left to right, the sum at the bar's end. */
export function barChart({ id, description, names, parts, unit }: Bars): Chart {
  const format = unit === "bytes" ? formatBytes : formatCount;
  const sums = names.map((_, i) => parts.reduce((sum, part) => sum + (part.values[i] ?? 0), 0));
  return {
    id,
    description,
    legend: parts.map(({ label, color }) => ({ label, color, shape: "block" })),
    heightPx: () => 44 + 26 * names.length,
    option: (size) => ({
      grid: { left: size === "wide" ? 190 : 116, right: size === "wide" ? 64 : 54, top: 4, bottom: 30, outerBoundsMode: "none" },
      xAxis: { type: "value", splitNumber: size === "wide" ? 6 : 3, axisLabel: { ...AXIS.label, formatter: (value: number) => format(value).replace(".0 ", " "), hideOverlap: true }, splitLine: AXIS.split },
      yAxis: { type: "category", inverse: true, data: [...names], axisLine: AXIS.line, axisTick: { show: false }, axisLabel: { ...AXIS.label, color: "var(--text)", width: size === "wide" ? 172 : 92, overflow: "truncate", interval: 0 } },
      series: [
        ...parts.map(({ color, values }) => ({ type: "bar", stack: "all", silent: true, barWidth: 15, data: [...values], itemStyle: { color, borderColor: "var(--page)", borderWidth: 0.5 } })),
        // A bar of no width at the end carries the sum.
        { type: "bar", stack: "all", silent: true, data: sums.map(() => 0), label: { show: true, position: "right", color: "var(--muted)", fontSize: 12, formatter: ({ dataIndex }: { dataIndex: number }) => format(sums[dataIndex] ?? 0) } },
      ],
    }),
  };
}
