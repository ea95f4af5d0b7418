/** Tables of medians, and their places in a Markdown file: between markers, so that the text around them stays. */
import { medianOf } from "./contest.ts";
import type { Standing } from "./contest.ts";

export interface Column {
  readonly title: string;
  readonly field: string;
  readonly digits: number;
}

/** A table with a row of titles. */
export function markdownTable(head: readonly string[], rows: readonly (readonly string[])[]): string {
  return [head, head.map(() => "---"), ...rows].map((cells) => `| ${cells.join(" | ")} |`).join("\n");
}

/** A number as the tables show it. */
export const formatNumber = (x: number, digits: number): string =>
  Number.isFinite(x) ? x.toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits }) : "–";

export interface RatioOptions {
  /** The field that decides who is the best peer (more is better where `moreIsBetter`). */
  readonly field: string;
  readonly moreIsBetter: boolean;
  /** Whether a contestant is what fedtune is compared with. */
  readonly isPeer: (name: string) => boolean;
  /** Whether a peer computes in float32. */
  readonly isFloat32: (name: string) => boolean;
}

/** The one with the best figure; those without a figure do not count. */
function bestOf(standings: readonly Standing[], { field, moreIsBetter }: RatioOptions): Standing | undefined {
  const sign = moreIsBetter ? 1 : -1;
  return standings.filter((s) => Number.isFinite(medianOf(s, field))).toSorted((a, b) => sign * (medianOf(b, field) - medianOf(a, field)))[0];
}

/** Medians of every contestant; each fedtune's row is followed by its ratios to the peer that did best, and to the best in float32 where that is another. */
export function contestTable(standings: readonly Standing[], columns: readonly Column[], ratios: RatioOptions): string {
  const peers = standings.filter(({ name }) => ratios.isPeer(name));
  const references = new Set([bestOf(peers, ratios), bestOf(peers.filter(({ name }) => ratios.isFloat32(name)), ratios)]);
  const rows = standings.flatMap((standing) => {
    const own = [standing.name, ...columns.map(({ field, digits }) => formatNumber(medianOf(standing, field), digits))];
    if (ratios.isPeer(standing.name)) return [own];
    const compared = [...references].flatMap((best) => (best === undefined ? [] : [[`**to ${best.name}**`, ...columns.map(({ field }) => formatNumber(medianOf(standing, field) / medianOf(best, field), 2)).map((x) => (x === "–" ? x : `**${x}**`))]]));
    return [own, ...compared];
  });
  return markdownTable(["", ...columns.map(({ title }) => title)], rows);
}

/** `text` with what stands between the markers of `name` replaced; the section is added at the end where there are none. */
export function replaceSection(text: string, name: string, content: string): string {
  const [begin, end] = [`<!-- bench:${name} -->`, `<!-- /bench:${name} -->`];
  const section = `${begin}\n${content.trim()}\n${end}`;
  const [from, to] = [text.indexOf(begin), text.indexOf(end)];
  if (from === -1 && to === -1) return `${text.trimEnd()}\n\n${section}\n`;
  if (from === -1 || to < from) throw new Error(`markers of ${name}: expected \`${begin}\` and then \`${end}\`, got one of them or the wrong order. Repair the file.`);
  return text.slice(0, from) + section + text.slice(to + end.length);
}
