/** Tables of medians, and their places in a Markdown file: between markers, so that the text around them stays. */
import { medianOf } from "./contest.ts";
import type { Standing } from "./contest.ts";

export interface Column {
  readonly title: string;
  readonly field: string;
  readonly digits: number;
}



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
  /** Whether a contestant is a peer, not fedtune. */
  readonly isPeer: (name: string) => boolean;
}

/** The peer with the best figure. */
function bestPeer(standings: readonly Standing[], { field, moreIsBetter, isPeer }: RatioOptions): Standing | undefined {
  const sign = moreIsBetter ? 1 : -1;
  return standings.filter(({ name }) => isPeer(name)).toSorted((a, b) => sign * (medianOf(b, field) - medianOf(a, field)))[0];
}

/** Medians of every contestant; each fedtune's row is followed by its ratios to the peer that did best. */
export function contestTable(standings: readonly Standing[], columns: readonly Column[], ratios: RatioOptions): string {
  const best = bestPeer(standings, ratios);
  const rows = standings.flatMap((standing) => {
    const own = [standing.name, ...columns.map(({ field, digits }) => formatNumber(medianOf(standing, field), digits))];
    if (best === undefined || ratios.isPeer(standing.name)) return [own];
    return [own, [`**to ${best.name}**`, ...columns.map(({ field }) => formatNumber(medianOf(standing, field) / medianOf(best, field), 2)).map((x) => (x === "–" ? x : `**${x}**`))]];
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
