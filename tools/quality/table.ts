/** The table of the quality experiment: losses of both adapters on both bases, and how far the 8-bit one is from the other. */
import { formatNumber, markdownTable } from "../bench/tables.ts";
import type { Base, Cell } from "./cell.ts";

/** What the 8-bit adapter's loss may be above the other's: on the float32 base and on the int8 base. */
const ALLOWED = { float32: 0.01, int8: 0.02 } as const;

/** Losses of the two adapters of one data set and seed. */
interface Pair {
  readonly dataset: string;
  readonly seed: number;
  readonly float32: Cell;
  readonly int8: Cell;
}

function pairsOf(cells: readonly Cell[]): readonly Pair[] {
  const groups = Map.groupBy(cells.filter(({ settings }) => settings.trained_on !== "none"), ({ settings }) => `${settings.dataset} ${settings.seed}`);
  return [...groups.values()].flatMap((group): readonly Pair[] => {
    const [float32, int8] = [group.find((c) => c.settings.trained_on === "float32"), group.find((c) => c.settings.trained_on === "int8")];
    return float32 === undefined || int8 === undefined ? [] : [{ dataset: float32.settings.dataset, seed: float32.settings.seed, float32, int8 }];
  });
}

/** How much larger the 8-bit adapter's loss is than the float32 adapter's, both run on `base`. */
const gap = ({ float32, int8 }: Pair, base: Base): number => int8.validation[base] / float32.validation[base] - 1;
const percent = (x: number): string => `${x < 0 ? "−" : "+"}${formatNumber(Math.abs(100 * x), 2)} %`;

/** Markdown of all finished cells out of `total`; throws where there is none. */
export function qualitySection(cells: readonly Cell[], total: number): string {
  const [first] = cells;
  if (first === undefined) throw new Error("quality: no cell");
  const { steps, batch, tokens, learning_rate: rate, r, validation_rows: rows } = first.settings;
  const pairs = pairsOf(cells).toSorted((a, b) => a.dataset.localeCompare(b.dataset) || a.seed - b.seed);
  const loss = (x: number): string => formatNumber(x, 4);
  const untrained = (dataset: string): Cell | undefined => cells.find(({ settings }) => settings.trained_on === "none" && settings.dataset === dataset);
  const lines = pairs.map((pair) => {
    const base = untrained(pair.dataset);
    return [
      pair.dataset, String(pair.seed), base === undefined ? "–" : loss(base.validation.float32),
      loss(pair.float32.validation.float32), loss(pair.int8.validation.float32), percent(gap(pair, "float32")),
      base === undefined ? "–" : loss(base.validation.int8), loss(pair.float32.validation.int8), loss(pair.int8.validation.int8), percent(gap(pair, "int8")),
    ];
  });
  const worst = (base: Base): number => Math.max(...pairs.map((pair) => gap(pair, base)));
  const verdict = (base: Base): string => `${percent(worst(base))} at worst on the ${base} base (aim: at most +${formatNumber(100 * ALLOWED[base], 0)} %, ${worst(base) <= ALLOWED[base] ? "kept" : "missed"})`;
  return [
    `**Quality: minimind2-small, LoRA r ${r} on q,v, ${steps} steps of ${batch} rows of at most ${tokens} tokens, AdamW at ${rate} falling to 0; mean loss of the labelled tokens of ${rows} held-out rows**`,
    markdownTable(["", "seed", "float32 base: untrained", "float32-trained", "int8-trained", "difference", "int8 base: untrained", "float32-trained", "int8-trained", "difference"], lines),
    ...(pairs.length === 0 ? [] : [`The adapter trained in 8 bits against the one trained in float32: ${verdict("float32")}; ${verdict("int8")}.`]),
    `*${cells.length} of ${total} cells; ${first.machine}; 8-bit weights held as ${first.held}; ${Object.entries(first.versions).map(([name, version]) => `${name} ${String(version)}`).join(", ")}.*`,
  ].join("\n\n");
}
