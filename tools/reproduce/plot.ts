/** Plots of the results page: drawn by ECharts without a browser, as SVG files that follow light and dark by themselves. */
import { CustomChart, ScatterChart } from "echarts/charts";
import { GridComponent, LegendComponent } from "echarts/components";
import { use } from "echarts/core";
import { renderSvg } from "../../src/app/report/charts/draw.ts";
import type { Estimate } from "./statements.ts";

use([ScatterChart, CustomChart, GridComponent, LegendComponent]);

export interface Series {
  readonly name: string;
  /** One of the page's colours: a CSS variable of `STYLE`. */
  readonly color: string;
  /** By category; undefined: not measured. */
  readonly values: readonly (Estimate | undefined)[];
}

/** Colours for light and dark, the same as the report's. */
const STYLE = `svg{--text:#1d2329;--muted:#5c6670;--grid:#dfe3e7;--base:#6b7280;--local:#8b3fa8;--global:#23803f;--federated:#0b5cad;background:transparent}
@media (prefers-color-scheme:dark){svg{--text:#e3e7ea;--muted:#9aa5af;--grid:#333c44;--base:#a4adb6;--local:#d59bea;--global:#6fcf8b;--federated:#6cb2f5}}`;

const ROW = 64;

/** Values with their intervals, one row for each category and in it a line for each series. */
export function intervalPlot({ title, categories, series, format }: { readonly title: string; readonly categories: readonly string[]; readonly series: readonly Series[]; readonly format: (value: number) => string }): string {
  const offset = (s: number): number => ((s - (series.length - 1) / 2) * (ROW * 0.62)) / Math.max(1, series.length);
  const option = {
    textStyle: { fontFamily: "system-ui, sans-serif" },
    legend: { top: 4, left: 150, icon: "circle", itemWidth: 10, textStyle: { color: "var(--muted)", fontSize: 12 } },
    grid: { left: 150, right: 30, top: 34, bottom: 40 },
    xAxis: { type: "value", scale: true, name: title, nameLocation: "middle", nameGap: 26, nameTextStyle: { color: "var(--muted)", fontSize: 12 }, axisLabel: { color: "var(--muted)", fontSize: 12, formatter: (value: number) => format(value) }, splitLine: { lineStyle: { color: "var(--grid)" } } },
    yAxis: { type: "category", inverse: true, data: [...categories], axisTick: { show: false }, axisLine: { lineStyle: { color: "var(--grid)" } }, axisLabel: { color: "var(--text)", fontSize: 12 } },
    series: series.flatMap(({ name, color, values }, s) => {
      const points = values.flatMap((estimate, row) => (estimate === undefined ? [] : [[estimate.value, row, estimate.low, estimate.high]]));
      return [
        { name, type: "scatter", silent: true, symbolSize: 9, symbolOffset: [0, offset(s)], itemStyle: { color }, data: points.map(([value = 0, row = 0]) => [value, row]) },
        {
          type: "custom", silent: true, data: points, encode: { x: [0, 2, 3], y: 1 },
          renderItem: (_: unknown, api: { value: (dimension: number) => number; coord: (point: readonly number[]) => readonly number[] }) => {
            const [x1 = 0, y = 0] = api.coord([api.value(2), api.value(1)]);
            const [x2 = 0] = api.coord([api.value(3), api.value(1)]);
            return { type: "line", shape: { x1, y1: y + offset(s), x2, y2: y + offset(s) }, style: { stroke: color, lineWidth: 2 } };
          },
        },
      ];
    }),
  };
  return renderSvg(option, { id: "plot", width: 760, height: 74 + ROW * categories.length }).replace(/(<svg[^>]*>)/, `$1<style>${STYLE}</style>`);
}
