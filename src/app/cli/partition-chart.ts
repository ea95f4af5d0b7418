/** Who holds which rows, as bars of text that fit a terminal: one line per client, by split and by category. */
import { formatCount } from "../report/index.ts";
import type { CategoryCounts } from "../report/index.ts";
import type { Colors } from "./context.ts";
import { fit, printable, widthOf, wrap } from "./text-layout.ts";

export interface PartitionNumbers {
  readonly clients: readonly { readonly name: string; readonly train: number; readonly validation: number; readonly test: number }[];
  readonly globalTest: number;
  readonly categories: CategoryCounts;
}

/** Fillings that can be told apart without colours. */
const FILLINGS = ["█", "▒", "░", "▓", "▚", "=", "+", "o", "x", ":", "~", "-", "."] as const;
const MOST_NAME = 24;

interface Part {
  readonly label: string;
  /** By client. */
  readonly rows: readonly number[];
}

/** The charts as lines of at most `width` columns. */
export function drawPartition({ clients, globalTest, categories }: PartitionNumbers, options: { readonly width: number; readonly colors: Colors }): readonly string[] {
  const names = clients.map((c) => printable(c.name).replace(/\s+/g, " "));
  const splits = (["train", "validation", "test"] as const).map((label): Part => ({ label, rows: clients.map((c) => c[label]) }));
  const lines = [options.colors.bold("Rows by split"), ...drawBars(names, splits, options)];
  if (categories.field !== null) {
    const parts = categories.categories.map((label, k): Part => ({ label: printable(label).replace(/\s+/g, " "), rows: categories.clients.map((c) => c.counts[k] ?? 0) }));
    lines.push("", options.colors.bold(`Rows by ${printable(categories.field)}`), ...drawBars(names, parts, options));
  }
  if (globalTest > 0) lines.push("", `${formatCount(globalTest)} rows belong to no client: the global test.`);
  return lines;
}

function drawBars(names: readonly string[], parts: readonly Part[], { width, colors }: { readonly width: number; readonly colors: Colors }): readonly string[] {
  const paints = [colors.blue, colors.yellow, colors.green, colors.magenta, colors.cyan, colors.red];
  const paint = (k: number, length: number): string => (paints[k % paints.length] ?? colors.reset)((FILLINGS[k % FILLINGS.length] ?? "█").repeat(length));
  const sums = names.map((_, i) => parts.reduce((sum, part) => sum + (part.rows[i] ?? 0), 0));
  const nameWidth = Math.min(MOST_NAME, Math.max(4, ...names.map(widthOf)));
  const sumWidth = Math.max(...sums.map((sum) => formatCount(sum).length), 1);
  const room = Math.max(8, width - nameWidth - sumWidth - 4);
  const scale = room / Math.max(1, ...sums);
  const legend = wrap(parts.map((part, k) => `${FILLINGS[k % FILLINGS.length]} ${part.label.replaceAll(" ", "\u00a0")} ${formatCount(part.rows.reduce((a, b) => a + b, 0))}`.replaceAll(" ", "\u00a0")).join("   "), width);
  const bars = names.map((name, i) => {
    const lengths = shareOut(parts.map((part) => part.rows[i] ?? 0), Math.round((sums[i] ?? 0) * scale));
    const bar = lengths.map((length, k) => paint(k, length)).join("");
    const label = fit(name, nameWidth);
    return `${label}${" ".repeat(nameWidth - widthOf(label))}  ${formatCount(sums[i] ?? 0).padStart(sumWidth)}  ${bar}`;
  });
  return [...legend.map((line) => colors.dim(line.replaceAll("\u00a0", " "))), ...bars];
}

/** Whole lengths that sum to `total`, by largest remainder; a part with rows keeps at least one where there is room. */
function shareOut(rows: readonly number[], total: number): readonly number[] {
  const sum = rows.reduce((a, b) => a + b, 0);
  if (sum === 0 || total === 0) return rows.map(() => 0);
  const exact = rows.map((n) => (n * total) / sum);
  const lengths = exact.map(Math.floor);
  const byRemainder = exact.map((value, k) => [value - Math.floor(value), k] as const).sort((a, b) => b[0] - a[0]);
  let rest = total - lengths.reduce((a, b) => a + b, 0);
  for (const [, k] of byRemainder) {
    if (rest === 0) break;
    lengths[k] = (lengths[k] ?? 0) + 1;
    rest--;
  }
  return lengths;
}
