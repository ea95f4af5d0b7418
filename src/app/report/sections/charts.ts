/** The charts of a run: loss per round with its numbers, partition, bytes, cross term. */
import { barChart } from "../charts/bars.ts";
import type { BarPart } from "../charts/bars.ts";
import { crossTermChart } from "../charts/cross-term.ts";
import { drawChart } from "../charts/draw.ts";
import { lossChart } from "../charts/loss.ts";
import type { RunFacts } from "../facts.ts";
import { formatBytes, formatThings } from "../format.ts";
import { html } from "../html.ts";
import type { Markup } from "../html.ts";

/** Who holds how many rows of which category, as the partition counts them. */
export interface CategoryCounts {
  /** The field that categories were read from; null where the data has none. */
  readonly field: string | null;
  readonly categories: readonly string[];
  /** `counts[k]` rows of `categories[k]`. */
  readonly clients: readonly { readonly name: string; readonly counts: readonly number[] }[];
}

/** Loss of each round. `id` is unique on the page. */
export function lossSection(id: string, facts: RunFacts): Markup | undefined {
  const chart = lossChart(`${id}-loss`, facts);
  return chart && html`<section><h3>Loss per round</h3>${drawChart(chart)}</section>`;
}

/** Who holds how many rows, by split, and by category where that is known. */
export function partitionSection(id: string, facts: RunFacts, categories: CategoryCounts | undefined): Markup | undefined {
  const { started } = facts;
  if (started === undefined) return undefined;
  const names = started.clients.map((c) => c.name);
  const bySplit = barChart({ id: `${id}-split`, description: `Rows of each of ${names.length} clients by split`, names, parts: splitParts(started.clients), unit: "rows" });
  const globalTest = started.globalTest === 0 ? undefined : html`<p class="note">${formatThings(started.globalTest, "row")} belong to no client: the global test, never used to select anything.</p>`;
  return html`<section><h3>Who holds what</h3>${drawChart(bySplit)}${categories === undefined || categories.field === null ? undefined : drawCategories(id, categories)}${globalTest}</section>`;
}

/** Rows of each client by split, as parts of bars. */
export function splitParts(clients: readonly Readonly<Record<"train" | "validation" | "test", number>>[]): readonly BarPart[] {
  return (["train", "validation", "test"] as const).map((split, i) => ({ label: split, color: `var(--c${i + 1})`, values: clients.map((c) => c[split]) }));
}

/** As many as there are colours; the rest are one part. */
const MOST_CATEGORIES = 8;

function drawCategories(id: string, counts: CategoryCounts): Markup {
  const names = counts.clients.map((c) => c.name);
  const by = counts.field ?? "category";
  return html`<h4 class="of">by ${by}</h4>${drawChart(barChart({ id: `${id}-category`, description: `Rows of each of ${names.length} clients by ${by}`, names, parts: categoryParts(counts), unit: "rows" }))}`;
}

/** Rows of each client by category, as parts of bars. */
export function categoryParts({ categories, clients }: CategoryCounts): readonly BarPart[] {
  const rowsOf = (from: number, to = from + 1): number[] => clients.map(({ counts }) => counts.slice(from, to).reduce((a, b) => a + b, 0));
  const named = categories.length > MOST_CATEGORIES ? MOST_CATEGORIES - 1 : categories.length;
  const parts: BarPart[] = categories.slice(0, named).map((label, k) => ({ label, color: `var(--c${k + 1})`, values: rowsOf(k) }));
  if (named < categories.length) parts.push({ label: `${categories.length - named} others`, color: `var(--c${MOST_CATEGORIES})`, values: rowsOf(named, categories.length) });
  return parts;
}

/** Bytes down to and up from each client over all rounds of the federation. */
export function bytesSection(id: string, facts: RunFacts): Markup | undefined {
  const commits = facts.commits.get("federated") ?? [];
  const names = facts.started?.clients.map((c) => c.name) ?? [];
  if (commits.length === 0 || names.length === 0) return undefined;
  const sum = (of: "bytesDown" | "bytesUp"): number[] => names.map((_, client) => commits.reduce((n, { updates }) => n + (updates.find((u) => u.client === client)?.[of] ?? 0), 0));
  const down = sum("bytesDown");
  const up = sum("bytesUp");
  const chart = barChart({
    id: `${id}-bytes`,
    description: `Bytes down to and up from each of ${names.length} clients`,
    names,
    parts: [{ label: "down to the client (adapter)", color: "var(--c1)", values: down }, { label: "up from the client (update)", color: "var(--c2)", values: up }],
    unit: "bytes",
  });
  const all = [...down, ...up].reduce((a, b) => a + b, 0);
  return html`<section><h3>What travelled</h3>${drawChart(chart)}<p class="note">${formatBytes(all)} in all over ${formatThings(commits.length, "round")}; one adapter is ${formatBytes(facts.started?.adapterBytes ?? 0)}. Rows never travel.</p></section>`;
}

/** The LoRA cross term of each round. */
export function crossTermSection(id: string, facts: RunFacts): Markup | undefined {
  const chart = crossTermChart(`${id}-cross`, facts);
  return (
    chart &&
    html`<section><h3>What averaging the factors loses</h3>${drawChart(chart)}<p class="note">Cross term of each round: ‖mean(B)·mean(A) − mean(B·A)‖ / ‖mean(B·A)‖ over all factor pairs. 0 % means that averaging the LoRA factors is as good as averaging their products.</p></section>`
  );
}
