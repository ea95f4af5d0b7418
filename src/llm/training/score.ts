/** Losses of single tokens: texts and their continuations laid end to end in one row a pass, all going on from one earlier text. */
import { interrupted, must } from "../../core/base/errors.ts";
import { tensor } from "../../core/base/tensor.ts";
import type { Tensor } from "../../core/base/tensor.ts";
import type { Session } from "../../engine/runtime/onnx-session.ts";
import { IGNORED_LABEL } from "../data/types.ts";
import type { EarlierText } from "./generation.ts";
import type { LabelledIds, ScoredText, ScoreResult } from "./types.ts";

export interface ScoreContext {
  /** Of `scoreGraph`. */
  readonly session: Session;
  readonly earlier: EarlierText;
  readonly layers: number;
  /** The adapter's tensors, where the session has one. */
  readonly feeds: Readonly<Record<string, Tensor>>;
  readonly tokensPerPass: number;
  readonly aborted: () => boolean;
  readonly onScored: (done: number) => void;
}

/** Continuations that a text may have: how far the numbers of two texts lie apart. */
const BRANCHES = 1 << 12;
/** Above every number of a query. */
const EVERY_NUMBER = 2 ** 31 - 1;

const lengthOf = ({ ids, branches }: ScoredText): number => branches.reduce((sum, branch) => sum + branch.ids.length, ids.length);

/** Texts, by their index, in as few passes as first-fit decreasing finds: the longest first. */
function fillPasses(texts: readonly ScoredText[], tokensPerPass: number): readonly (readonly number[])[] {
  const order = texts.map((text, index) => ({ index, length: lengthOf(text) })).sort((a, b) => b.length - a.length || a.index - b.index);
  const shortest = order.at(-1)?.length ?? 0;
  const passes: (readonly number[])[] = [];
  // Those with room for the shortest text at least.
  let open: { readonly members: number[]; room: number }[] = [];
  for (const { index, length } of order) {
    let pass = open.find(({ room }) => room >= length);
    if (pass === undefined) {
      pass = { members: [], room: tokensPerPass };
      open.push(pass);
      passes.push(pass.members);
    }
    pass.members.push(index);
    pass.room -= length;
    if (pass.room < shortest) open = open.filter((other) => other !== pass);
  }
  return passes;
}

/** One pass as it is being laid out. */
class Layout {
  readonly ids: number[] = [];
  readonly positions: number[] = [];
  readonly numbers: number[] = [];
  readonly last: number[] = [];
  readonly rows: number[] = [];
  readonly targets: number[] = [];

  /** Lays out tokens; `before` is the row that the first of them follows, -1 where none does. Returns the number of losses. */
  add({ ids, labels }: LabelledIds, place: { readonly position: number; readonly number: number; readonly last: number; readonly before: number }): number {
    const start = this.ids.length;
    const counted = this.rows.length;
    ids.forEach((id, p) => {
      const label = labels[p] ?? IGNORED_LABEL;
      const row = p === 0 ? place.before : start + p - 1;
      if (label !== IGNORED_LABEL && row >= 0) {
        this.rows.push(row);
        this.targets.push(label);
      }
      this.ids.push(id);
      this.positions.push(place.position + p);
      this.numbers.push(place.number);
      this.last.push(place.last);
    });
    return this.rows.length - counted;
  }
}

/** Losses of the texts of one pass, in their order. */
async function scorePass({ session, earlier, layers, feeds }: ScoreContext, texts: readonly ScoredText[]): Promise<readonly ScoreResult[]> {
  const layout = new Layout();
  const counts = texts.map((text, t) => {
    const number = (t + 1) * BRANCHES;
    const own = layout.add(text, { position: earlier.keys, number, last: number + BRANCHES - 1, before: -1 });
    const end = layout.ids.length - 1;
    const position = earlier.keys + text.ids.length;
    return [own, ...text.branches.map((branch, b) => layout.add(branch, { position, number: number + b + 1, last: number + b + 1, before: text.ids.length === 0 ? -1 : end }))];
  });
  const tokens = layout.ids.length;
  const keys = earlier.keys + tokens;
  const byKey = (before: (i: number) => number, own: readonly number[]): Tensor => tensor("int32", [1, keys], Int32Array.from({ length: keys }, (_, i) => (i < earlier.keys ? before(i) : (own[i - earlier.keys] ?? 0))));
  // A pass without labels still needs a row.
  const labelled = Math.max(1, layout.rows.length);
  const byLabel = (values: readonly number[]): Tensor => tensor("int32", [1, labelled], Int32Array.from({ length: labelled }, (_, i) => values[i] ?? 0));
  const byToken = (values: readonly number[]): Tensor => tensor("int32", [1, 1, tokens], Int32Array.from(values));
  const past = Object.fromEntries(Array.from({ length: layers }, (_, i) => [`key_${i}`, `value_${i}`]).flat().map((name) => [`past_${name}`, must(earlier.states[name], name)]));
  const out = await session.run({
    ids: byToken(layout.ids), positions: byToken(layout.positions), numbers: byToken(layout.numbers),
    key_positions: byKey((i) => i, layout.positions), key_first: byKey(() => 0, layout.numbers), key_last: byKey(() => EVERY_NUMBER, layout.last),
    labelled_rows: byLabel(layout.rows), targets: byLabel(layout.targets), ...past, ...feeds,
  });
  // The graph declares nll as float32.
  const losses = must(out["nll"], "nll").data as Float32Array;
  let at = 0;
  const take = (count: number): Float32Array => losses.slice(at, (at += count));
  return counts.map(([own = 0, ...branches]) => ({ losses: take(own), branches: branches.map(take) }));
}

/** Losses of each text's labelled tokens, in the order of the texts. Throws FedtuneError("interrupted") once `aborted` says so. */
export async function scoreTexts(context: ScoreContext, texts: readonly ScoredText[]): Promise<readonly ScoreResult[]> {
  const crowded = texts.find(({ branches }) => branches.length >= BRANCHES);
  if (crowded !== undefined) throw new Error(`score: expected fewer than ${BRANCHES} continuations of one text, got ${crowded.branches.length}`);
  const results: ScoreResult[] = [];
  let done = 0;
  for (const members of fillPasses(texts, context.tokensPerPass)) {
    if (context.aborted()) throw interrupted("evaluation");
    const scored = await scorePass(context, members.map((i) => must(texts[i], "text")));
    members.forEach((i, at) => (results[i] = must(scored[at], "scored text")));
    done += members.length;
    context.onScored(done);
  }
  return results;
}
