/**
 * Partitions as FederatedScope-LLM makes them (arXiv 2309.00363, code of December 2023), for comparison with its results; not with
 * its random bits. All rows are put in one random order and cut into train, validation and test; then each of the three is shared
 * out apart. By a field, each is shuffled apart as well, so that a client's validation and test rows may be of other kinds than
 * those it trains on: that is the reference's fault, and why this stands behind `partition.compat`.
 */
import { FedtuneError } from "../../../core/base/errors.ts";
import { permutation, randomKey, uniforms } from "../../../core/base/random.ts";
import type { PartitionSettings } from "../settings.ts";
import { requireEnough, type ClientRows } from "./assignment.ts";
import { drawDirichlet } from "./gamma.ts";
import type { SplitRows } from "./split.ts";

/** A partition that the reference knows, with its rows grouped by the field that it goes by (one group where it goes by none). */
export interface FsllmInput {
  readonly settings: Extract<PartitionSettings, { method: "iid" | "dirichlet" | "field" }>;
  /** Rows by the field's value; those of values that are left out are not among them. */
  readonly groups: readonly ClientRows[];
  readonly seed: number;
}

export type FsllmClients = readonly (SplitRows & { readonly name: string })[];

const PARTS = ["train", "validation", "test"] as const;
const MAX_ATTEMPTS = 1000;

/** Rows of one part by the field's value, in the order of the values. */
type Groups = readonly ClientRows[];

/** One random order of all rows, cut as Python's int() cuts: what is left over is tested on. */
function cutParts({ groups, settings, seed }: FsllmInput): Readonly<Record<(typeof PARTS)[number], Groups>> {
  const rows = groups.flatMap((group) => group.rows).sort((a, b) => a - b);
  const order = permutation(randomKey(seed, "fsllm split"), [], rows.length);
  const train = Math.trunc(settings.split.train * rows.length);
  const validation = Math.trunc(settings.split.validation * rows.length);
  const placeOf = new Map(Array.from(order, (at, place) => [rows[at] ?? 0, place]));
  const within = (from: number, to: number): Groups =>
    groups.map(({ name, rows: own }) => ({
      name,
      rows: own.filter((row) => {
        const place = placeOf.get(row) ?? -1;
        return place >= from && place < to;
      }),
    }));
  return { train: within(0, train), validation: within(train, train + validation), test: within(train + validation, rows.length) };
}

function shuffle(rows: readonly number[], seed: number, place: readonly [part: number, group: number]): readonly number[] {
  return Array.from(permutation(randomKey(seed, "fsllm shuffle"), place, rows.length), (i) => rows[i] ?? 0);
}

/** One at a time: a spread of many rows overflows the stack. */
function append(to: number[] | undefined, rows: readonly number[]): void {
  for (const row of rows) to?.push(row);
}

/** numpy's array_split: the first n mod clients get one row more. */
function dealEqually(groups: Groups, clients: number, place: { readonly seed: number; readonly part: number }): readonly (readonly number[])[] {
  const rows = shuffle(groups.flatMap((group) => group.rows), place.seed, [place.part, 0]);
  const [each, more] = [Math.floor(rows.length / clients), rows.length % clients];
  return Array.from({ length: clients }, (_, c) => rows.slice(c * each + Math.min(c, more), (c + 1) * each + Math.min(c + 1, more)));
}

/** For each value, shares of its rows from a Dirichlet distribution; drawn anew until every client has `min_size` rows. */
function dealByDirichlet(groups: Groups, { clients, alpha, min_size }: Extract<PartitionSettings, { method: "dirichlet" }>, seed: number): readonly (readonly number[])[] {
  requireEnough(groups.reduce((sum, group) => sum + group.rows.length, 0), clients, min_size);
  for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
    const dealt = Array.from({ length: clients }, (): number[] => []);
    for (const [g, group] of groups.entries()) {
      const rows = shuffle(group.rows, seed, [attempt, g]);
      let sum = 0;
      let from = 0;
      for (const [c, share] of drawDirichlet(alpha, clients, { seed, place: [attempt, g] }).entries()) {
        sum += share;
        const to = c === clients - 1 ? rows.length : Math.trunc(sum * rows.length);
        append(dealt[c], rows.slice(from, to));
        from = to;
      }
    }
    if (dealt.every((rows) => rows.length >= min_size)) return dealt;
  }
  throw new FedtuneError("data", { where: "partition", expected: `at least ${min_size} training examples for each of ${clients} clients at alpha ${alpha}`, got: `none in ${MAX_ATTEMPTS} draws`, remedy: "Raise partition.alpha, or ask for fewer clients or a smaller min_size" });
}

/**
 * Rows of validation or test in the proportions of the training rows, value by value: each client's share is rounded up, then single
 * rows are taken from clients at random until the sum fits. A value that nobody trains on is dealt in turn (the reference fails).
 */
function dealByPrior(groups: Groups, prior: readonly (readonly number[])[], { seed, part, training }: { readonly seed: number; readonly part: number; readonly training: Groups }): readonly (readonly number[])[] {
  const dealt = prior.map((): number[] => []);
  for (const [g, group] of groups.entries()) {
    const rows = shuffle(group.rows, seed, [part, g]);
    const trained = new Set(training[g]?.rows ?? []);
    const held = prior.map((own) => own.filter((row) => trained.has(row)).length);
    const all = held.reduce((a, b) => a + b, 0);
    const counts = held.map((n, c) => (all === 0 ? Math.floor(rows.length / prior.length) + (c < rows.length % prior.length ? 1 : 0) : Math.ceil((n / all) * rows.length)));
    for (let i = 0; counts.reduce((a, b) => a + b, 0) > rows.length; i++) {
      const [u = 0] = uniforms(randomKey(seed, "fsllm prior"), [part, g, i], 1);
      const client = Math.floor(u * prior.length);
      const count = counts[client] ?? 0;
      if (count > 0) counts[client] = count - 1;
    }
    let from = 0;
    for (const [c, count] of counts.entries()) {
      append(dealt[c], rows.slice(from, from + count));
      from += count;
    }
  }
  return dealt;
}

/** Each value to one client, in random order; the values beyond the last client go to the first ones again. */
function dealGroups(groups: Groups, clients: number, place: { readonly seed: number; readonly part: number }): readonly { readonly names: readonly string[]; readonly rows: readonly number[] }[] {
  const present = groups.filter((group) => group.rows.length > 0);
  const order = permutation(randomKey(place.seed, "fsllm groups"), [place.part], present.length);
  return Array.from({ length: clients }, (_, c) => {
    const own = Array.from(order).filter((_group, i) => i % clients === c).flatMap((g) => present[g] ?? []);
    return { names: own.map((group) => group.name), rows: own.flatMap((group) => group.rows) };
  });
}

/**
 * The clients and their rows as the reference shares them out. Clients are numbered, and named by the values that they train on
 * where there is one client for each. Throws FedtuneError "data" for more clients than rows or values.
 */
export function partitionFsllm(input: FsllmInput): FsllmClients {
  const { settings, groups, seed } = input;
  const parts = cutParts(input);
  const ascending = (rows: readonly number[] | undefined): readonly number[] => (rows ?? []).toSorted((a, b) => a - b);
  const clients = settings.method === "field" ? (settings.clients ?? groups.length) : settings.clients;
  requireEnough(parts.train.reduce((sum, group) => sum + group.rows.length, 0), clients);
  switch (settings.method) {
    case "iid": {
      const dealt = PARTS.map((part, i) => dealEqually(parts[part], clients, { seed, part: i }));
      return Array.from({ length: clients }, (_, c) => ({ name: String(c), train: ascending(dealt[0]?.[c]), validation: ascending(dealt[1]?.[c]), test: ascending(dealt[2]?.[c]) }));
    }
    case "dirichlet": {
      const train = dealByDirichlet(parts.train, settings, seed);
      const [validation, test] = (["validation", "test"] as const).map((part, i) => dealByPrior(parts[part], train, { seed, part: i + 1, training: parts.train }));
      return train.map((rows, c) => ({ name: String(c), train: ascending(rows), validation: ascending(validation?.[c]), test: ascending(test?.[c]) }));
    }
    case "field": {
      const values = parts.train.filter((group) => group.rows.length > 0).length;
      if (values < clients) throw new FedtuneError("data", { where: "partition.clients", expected: `at most ${values}, as many as the training rows have values of \`${settings.field}\``, got: String(clients), remedy: "Ask for fewer clients" });
      const dealt = PARTS.map((part, i) => dealGroups(parts[part], clients, { seed, part: i }));
      return Array.from({ length: clients }, (_, c) => ({ name: dealt[0]?.[c]?.names.join("+") ?? String(c), train: ascending(dealt[0]?.[c]?.rows), validation: ascending(dealt[1]?.[c]?.rows), test: ascending(dealt[2]?.[c]?.rows) }));
    }
    default:
      return settings satisfies never;
  }
}
