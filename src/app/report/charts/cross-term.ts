/** The LoRA cross term per round: how far the product of averaged factors is from the average of the products. */
import type { RunFacts } from "../facts.ts";
import { AXIS } from "./draw.ts";
import type { Chart } from "./draw.ts";

/** The chart; undefined where no round reported a cross term. */
export function crossTermChart(id: string, facts: RunFacts): Chart | undefined {
  const points = (facts.commits.get("federated") ?? []).flatMap(({ round, crossTerm }) => (typeof crossTerm === "number" ? [[round, crossTerm * 100]] : []));
  if (points.length === 0) return undefined;
  return {
    id,
    description: `Cross term of the averaged factors per round, in percent, over ${points.length} rounds`,
    legend: [],
    heightPx: () => 200,
    option: (size) => ({
      grid: { left: 8, right: 14, top: 12, bottom: 28, outerBoundsMode: "same", outerBoundsContain: "axisLabel" },
      xAxis: { type: "value", min: 0, max: Math.max(1, facts.started?.rounds ?? 0), minInterval: 1, splitNumber: size === "wide" ? 10 : 5, name: "round", nameLocation: "middle", nameGap: 26, nameTextStyle: AXIS.name, axisLine: AXIS.line, axisTick: { show: false }, axisLabel: AXIS.label, splitLine: { show: false } },
      yAxis: { type: "value", min: 0, splitNumber: 4, axisLabel: { ...AXIS.label, formatter: "{value} %" }, splitLine: AXIS.split },
      series: [{ type: "line", silent: true, symbolSize: 5, showSymbol: points.length < 40, symbol: "circle", data: points, itemStyle: { color: "var(--federated)" }, lineStyle: { color: "var(--federated)", width: 2 } }],
    }),
  };
}
