/**
 * Draws a chart as SVG text by ECharts, without a browser: once for wide screens and paper, once for phones, of which CSS shows the
 * one that fits; or once at half the width, to stand beside others. Colours are the page's CSS variables, so that a chart follows light and dark. Leaves what is drawn to its
 * neighbours, one chart a file.
 */
import { BarChart, LineChart, ScatterChart } from "echarts/charts";
import { GridComponent } from "echarts/components";
import { init, use } from "echarts/core";
import type { EChartsCoreOption } from "echarts/core";
import { SVGRenderer } from "echarts/renderers";
import { html, trusted } from "../html.ts";
import type { Markup } from "../html.ts";

use([LineChart, BarChart, ScatterChart, GridComponent, SVGRenderer]);

/** Width of a drawing in CSS pixels: on a page or paper, on a phone, and where two stand side by side. */
const WIDTHS = { wide: 860, narrow: 350, half: 420 } as const;
export type Size = keyof typeof WIDTHS;

export interface LegendEntry {
  readonly label: string;
  /** A CSS colour or variable. */
  readonly color: string;
  readonly shape: "line" | "thin" | "dashed" | "dotted" | "block" | "dot" | "square" | "diamond";
}

export interface Chart {
  /** Unique on the page: a prefix of the ids inside the drawing. */
  readonly id: string;
  /** Read out in place of the picture. */
  readonly description: string;
  readonly legend: readonly LegendEntry[];
  readonly heightPx: (size: Size) => number;
  readonly option: (size: Size) => EChartsCoreOption;
}

/** Both drawings of a chart with its legend, as markup. */
export function drawChart(chart: Chart): Markup {
  return html`<figure class="chart" role="img" aria-label="${chart.description}">
${legendOf(chart)}
<div class="wide">${drawSvg(chart, "wide")}</div><div class="narrow">${drawSvg(chart, "narrow")}</div>
</figure>`;
}

/** A chart that stands beside others, with a title, its legend, and words below it. One alone takes the whole width. */
export function drawMultiples(charts: readonly { readonly title: string; readonly chart: Chart; readonly note?: Markup }[]): Markup {
  if (charts.length === 1) return html`${charts.map(({ title, chart, note }) => html`<h4 class="of">${title}</h4>${drawChart(chart)}${note}`)}`;
  return html`<div class="multiples">${charts.map(
    ({ title, chart, note }) => html`<div><h4 class="of">${title}</h4><figure class="chart" role="img" aria-label="${chart.description}">${legendOf(chart)}${drawSvg(chart, "half")}</figure>${note}</div>`,
  )}</div>`;
}

function legendOf({ legend }: Chart): Markup {
  return html`<ul class="legend" aria-hidden="true">${legend.map(({ label, color, shape }) => html`<li><span class="key ${shape}" style="--key:${color}"></span>${label}</li>`)}</ul>`;
}

function drawSvg(chart: Chart, size: Size): Markup {
  return trusted(renderSvg(chart.option(size), { id: `${chart.id}-${size}`, width: WIDTHS[size], height: chart.heightPx(size) }));
}

/** A drawing as SVG text, the same each time. `id` is the prefix of the ids inside it; sizes are CSS pixels. */
export function renderSvg(option: EChartsCoreOption, { id, width, height }: { readonly id: string; readonly width: number; readonly height: number }): string {
  const drawing = init(null, null, { renderer: "svg", ssr: true, width, height });
  try {
    drawing.setOption({ animation: false, textStyle: { fontFamily: "inherit" }, ...option });
    return cleanSvg(drawing.renderToSVGString(), id);
  } finally {
    drawing.dispose();
  }
}

/** Ids and classes count over the whole process and would differ from call to call; hover rules and data marks serve no one here. */
function cleanSvg(svg: string, id: string): string {
  return svg
    .replace(/zr\d+-/g, `${id}-`)
    .replace(/\s+ecmeta_\w+="[^"]*"/g, "")
    .replace(/<style\s*>[\s\S]*?<\/style>/g, "")
    .replace(/\s+class="[^"]*"/g, "");
}

/** Axis, grid line and label colours that all charts share. */
export const AXIS = {
  line: { lineStyle: { color: "var(--rule)" } },
  split: { lineStyle: { color: "var(--grid)" } },
  label: { color: "var(--muted)", fontSize: 12 },
  name: { color: "var(--muted)", fontSize: 12 },
} as const;
