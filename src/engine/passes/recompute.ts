/**
 * Gradient checkpointing as a graph pass (Chen et al. 2016, "Training deep nets with sublinear memory cost"), with a budget:
 * of the values that the backward pass reads, those that cost least per byte are not kept but made again when they
 * are first needed. Nothing is known here of architectures or adapters; the graph's own sizes decide.
 */
import { must } from "../../core/base/errors.ts";
import { OPS } from "../graph/ops/all.ts";
import type { Graph, Node, TensorType, ValueId } from "../graph/types.ts";
import { bytesOfValue, costOfNode, findPeak, findRoots, type Peak, type Sizes } from "./memory-model.ts";

export interface RecomputeOptions {
  /** Values below this id belong to the forward pass. */
  readonly boundary: ValueId;
  /** Most bytes that the values of a run should take by the memory model. */
  readonly bytes: number;
  /** The largest sizes that a run will have. */
  readonly sizes: Sizes;
}

export interface Recomputed {
  readonly graph: Graph;
  /** By the memory model: of the graph as it was, and as it is. */
  readonly before: Peak;
  readonly after: Peak;
  /** Cost of the nodes that run a second time, as a share of all. */
  readonly share: number;
}

/** Share of the peak that is given up before what is left is looked at anew. */
const STEP = 1 / 16;

/** A value that this share of the forward pass or more lies between its maker and its last reader (a mask, a table) is no state that flows through it. */
const LONG_LIVED = 1 / 4;

/** The forward and backward nodes of a graph, and which kept values may be given up. */
class Plan {
  readonly #graph: Graph;
  readonly #forward: readonly Node[];
  readonly #backward: readonly Node[];
  readonly #root: (id: ValueId) => ValueId;
  /** Index of the forward node that makes a value. */
  readonly #maker = new Map<ValueId, number>();
  readonly #kept = new Set<ValueId>();
  readonly #pinned: ReadonlySet<ValueId>;
  readonly #again = new Set<number>();
  readonly #costs: readonly number[];
  readonly #sizes: Sizes;

  constructor(graph: Graph, { boundary, sizes }: RecomputeOptions) {
    this.#graph = graph;
    this.#sizes = sizes;
    this.#forward = graph.nodes.filter(({ outputs: [first = 0] }) => first < boundary);
    this.#backward = graph.nodes.filter(({ outputs: [first = 0] }) => first >= boundary);
    this.#root = findRoots(graph.nodes);
    this.#forward.forEach((node, i) => node.outputs.forEach((id) => this.#maker.set(id, i)));
    this.#costs = this.#forward.map((node) => costOfNode(graph, node, sizes));
    this.#pinned = new Set(graph.outputs.map(({ id }) => this.#root(id)));
    for (const node of this.#backward) for (const id of node.inputs) if (this.#maker.has(this.#root(id))) this.#kept.add(this.#root(id));
  }

  /** Whether the backward pass finds a value where the forward pass left it. */
  #isAt(id: ValueId): boolean {
    const root = this.#root(id);
    return !this.#maker.has(root) || this.#kept.has(root) || this.#pinned.has(root);
  }

  /** Forward nodes that have to run again for a value, besides those that do already. */
  #chain(id: ValueId): ReadonlySet<number> {
    const found = new Set<number>();
    const open = [id];
    for (let next = open.pop(); next !== undefined; next = open.pop()) {
      const maker = must(this.#maker.get(next), `maker of value ${next}`);
      if (found.has(maker) || this.#again.has(maker)) continue;
      found.add(maker);
      for (const input of must(this.#forward[maker], "node").inputs) if (!this.#isAt(input)) open.push(input);
    }
    return found;
  }

  /**
   * Narrow places of the forward pass: values through which alone all that follows depends on all that was before, as on
   * the residual stream between two sublayers. Where they stay, what is made again is never more than what lies between two.
   * What no product went into (parameters cut apart, masks, tables) is no state of the pass and does not count, wherever it is read.
   */
  narrows(): ReadonlySet<ValueId> {
    const lastUse = new Map<ValueId, number>();
    const computed = new Set<ValueId>();
    this.#forward.forEach(({ op, inputs, outputs }, i) => {
      for (const id of inputs) lastUse.set(this.#root(id), i);
      if (OPS[op].operations !== undefined || inputs.some((id) => computed.has(id))) for (const id of outputs) computed.add(id);
    });
    const isLong = (id: ValueId, made: number): boolean => (lastUse.get(id) ?? made) - made >= LONG_LIVED * this.#forward.length;
    const found = new Set<ValueId>();
    let live: ValueId[] = [];
    this.#forward.forEach(({ outputs }, i) => {
      live = [...live.filter((id) => (lastUse.get(id) ?? 0) > i), ...outputs.filter((id) => computed.has(id) && this.#root(id) === id && (lastUse.get(id) ?? 0) > i && !isLong(id, i))];
      const [only, ...others] = live;
      if (only !== undefined && others.length === 0) found.add(only);
    });
    return found;
  }

  /**
   * Kept values that do nothing but lie in memory while node `at` of `built` runs, those that one node makes together,
   * with the cost per byte of making them again, cheapest first.
   */
  candidates(built: Graph, at: number): readonly { readonly ids: readonly ValueId[]; readonly bytes: number }[] {
    const before = new Map<ValueId, number>();
    const after = new Map<ValueId, number>();
    built.nodes.forEach((node, i) => {
      for (const id of node.inputs) {
        const root = this.#root(id);
        if (i < this.#forward.length) before.set(root, i);
        else if (!after.has(root)) after.set(root, i);
      }
    });
    const idle = [...this.#kept].filter((id) => !this.#pinned.has(id) && Math.max(before.get(id) ?? 0, must(this.#maker.get(id), "maker")) < at && at < (after.get(id) ?? 0));
    return [...Map.groupBy(idle, (id) => must(this.#maker.get(id), "maker"))]
      .map(([maker, ids]) => {
        const bytes = ids.reduce((sum, id) => sum + bytesOfValue(must(this.#graph.values[id], `value ${id}`), this.#sizes), 0);
        let cost = 0;
        for (const i of this.#chain(must(ids[0], "value"))) cost += this.#costs[i] ?? 0;
        return { maker, ids, bytes, perByte: cost / Math.max(1, bytes) };
      })
      .sort((a, b) => a.perByte - b.perByte || a.maker - b.maker);
  }

  giveUp(id: ValueId): void {
    this.#kept.delete(id);
    for (const i of this.#chain(id)) this.#again.add(i);
  }

  get cost(): number {
    return [...this.#again].reduce((sum, i) => sum + (this.#costs[i] ?? 0), 0);
  }

  get wholeCost(): number {
    return this.#graph.nodes.reduce((sum, node) => sum + costOfNode(this.#graph, node, this.#sizes), 0);
  }

  /** The graph in which all that is not kept is made again just before it is first read. */
  build(): Graph {
    const values: TensorType[] = [...this.#graph.values];
    const nodes: Node[] = [...this.#forward];
    const copies = new Map<ValueId, ValueId>();
    const renamed = (ids: readonly ValueId[]): readonly ValueId[] => Object.freeze(ids.map((id) => copies.get(id) ?? id));
    const runAgain = (index: number): void => {
      const node = must(this.#forward[index], "node");
      const inputs = renamed(node.inputs);
      const outputs = node.outputs.map((id) => values.push(must(values[id], `value ${id}`)) - 1);
      nodes.push(Object.freeze({ ...node, inputs, outputs: Object.freeze(outputs) }));
      node.outputs.forEach((id, i) => {
        if (!this.#isAt(id)) copies.set(id, must(outputs[i], "output"));
      });
    };
    const done = new Set<number>();
    for (const node of this.#backward) {
      const open = node.inputs.filter((id) => this.#maker.has(id) && !this.#isAt(id));
      const wanted: number[] = [];
      for (let id = open.pop(); id !== undefined; id = open.pop()) {
        const maker = must(this.#maker.get(id), `maker of value ${id}`);
        if (done.has(maker)) continue;
        done.add(maker);
        wanted.push(maker);
        open.push(...must(this.#forward[maker], "node").inputs.filter((input) => !this.#isAt(input)));
      }
      for (const index of wanted.sort((a, b) => a - b)) runAgain(index);
      nodes.push(copies.size === 0 ? node : Object.freeze({ ...node, inputs: renamed(node.inputs) }));
    }
    return Object.freeze({ ...this.#graph, values: Object.freeze(values), nodes: Object.freeze(nodes) });
  }
}

interface Try {
  readonly graph: Graph;
  readonly peak: Peak;
  readonly cost: number;
}

/** Gives values up, the cheapest first, until the budget is met or nothing is left to give; those in `staying` never. The least peak on the way. */
function giveUpWithin(graph: Graph, { options, staying }: { readonly options: RecomputeOptions; readonly staying: "nothing" | "narrows" }): Try {
  const plan = new Plan(graph, options);
  const stays = staying === "narrows" ? plan.narrows() : new Set<ValueId>();
  let best: Try = { graph, peak: findPeak(graph, options.sizes), cost: 0 };
  for (let current = best; current.peak.bytes > options.bytes; ) {
    const found = plan.candidates(current.graph, current.peak.at).filter(({ ids }) => !ids.some((id) => stays.has(id)));
    if (found.length === 0) break;
    // A little at a time, since each value that goes changes what the next ones cost; the same steps whatever the budget.
    let freed = 0;
    for (const { ids, bytes } of found) {
      if (freed > 0 && freed + bytes > current.peak.bytes * STEP) break;
      ids.forEach((id) => plan.giveUp(id));
      freed += bytes;
    }
    const next = plan.build();
    current = { graph: next, peak: findPeak(next, options.sizes), cost: plan.cost };
    if (current.peak.bytes < best.peak.bytes) best = current;
  }
  return best;
}

/**
 * The same graph within a budget, or as near to it as giving values up brings it: any of them first, and where that is
 * not enough, all but the narrow places of the pass. Its nodes that run twice are equal to others: a runtime must neither
 * merge equal nodes nor run a node before something needs it.
 * Throws where a symbol of the graph is not in `sizes`.
 */
export function recompute(graph: Graph, options: RecomputeOptions): Recomputed {
  const before = findPeak(graph, options.sizes);
  let best = giveUpWithin(graph, { options, staying: "nothing" });
  if (best.peak.bytes > options.bytes) {
    const other = giveUpWithin(graph, { options, staying: "narrows" });
    if (other.peak.bytes < best.peak.bytes) best = other;
  }
  return { graph: best.graph, before, after: best.peak, share: best.cost / Math.max(1, new Plan(graph, options).wholeCost) };
}
