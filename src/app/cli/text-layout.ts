/** Text that has to fit a terminal: cutting, padding, wrapping and tables. Widths count characters as seen, colours left out. */
import { stripVTControlCharacters } from "node:util";

/** Number of columns that a text takes: wide characters (CJK, emoji) count two, marks that combine none. */
export function widthOf(text: string): number {
  let width = 0;
  for (const { segment } of GRAPHEMES.segment(stripVTControlCharacters(text))) width += WIDE.test(segment) ? 2 : 1;
  return width;
}

const GRAPHEMES = new Intl.Segmenter("en", { granularity: "grapheme" });
const WIDE = /[\p{Emoji_Presentation}\u1100-\u115f\u2e80-\u303e\u3041-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6]/u;

/** The text cut to `width` columns, with an ellipsis where something was cut. Only for text without colours. */
export function fit(text: string, width: number): string {
  if (widthOf(text) <= width) return text;
  let out = "";
  let used = 0;
  for (const { segment } of GRAPHEMES.segment(text)) {
    const next = used + widthOf(segment);
    if (next > width - 1) break;
    out += segment;
    used = next;
  }
  return width < 1 ? "" : `${out}…`;
}

/** Text from data, safe to print: control and escape characters are shown as U+FFFD, line ends and tabs stay. */
export function printable(text: string): string {
  // oxlint-disable-next-line no-control-regex -- exactly these could steer the terminal
  return text.replace(/\r\n/g, "\n").replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g, "\ufffd");
}

/** Lines of at most `width` columns, broken between words where that is possible; line ends in the text stay. */
export function wrap(text: string, width: number): readonly string[] {
  return text.split("\n").flatMap((paragraph) => {
    const lines: string[] = [];
    let line = "";
    for (const word of paragraph.split(" ")) {
      let rest = word;
      if (line !== "" && widthOf(line) + 1 + widthOf(rest) > width) {
        lines.push(line);
        line = "";
      } else if (line !== "") {
        line += " ";
      }
      while (widthOf(line + rest) > width && rest.length > 1) {
        const head = fit(rest, width - widthOf(line) + 1).slice(0, -1) || rest.slice(0, 1);
        lines.push(line + head);
        rest = rest.slice(head.length);
        line = "";
      }
      line += rest;
    }
    return [...lines, line];
  });
}

export interface TextColumn {
  readonly heading: string;
  readonly align: "left" | "right";
}

/** Rows with aligned columns, two spaces apart; the first column is cut where the table would be wider than `width`. */
export function layoutTable(columns: readonly TextColumn[], rows: readonly (readonly string[])[], width: number): readonly string[] {
  const widths = columns.map((column, i) => Math.max(widthOf(column.heading), ...rows.map((row) => widthOf(row[i] ?? ""))));
  const rest = widths.slice(1).reduce((sum, w) => sum + w + 2, 0);
  widths[0] = Math.max(4, Math.min(widths[0] ?? 0, width - rest));
  const line = (cells: readonly string[]): string =>
    cells
      .map((cell, i) => {
        const room = widths[i] ?? 0;
        const text = i === 0 ? fit(cell, room) : cell;
        const space = " ".repeat(Math.max(0, room - widthOf(text)));
        return columns[i]?.align === "right" ? space + text : text + space;
      })
      .join("  ")
      .trimEnd();
  return [line(columns.map((c) => c.heading)), ...rows.map(line)];
}
