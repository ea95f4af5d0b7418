/**
 * The time that the bare float32 products of a model take on this machine, each by a graph that does nothing else: what
 * a step or a token is compared with.
 */
import { performance } from "node:perf_hooks";
import { GraphBuilder, openSession, operations as g } from "../../engine/index.ts";
import type { Session } from "../../engine/index.ts";
import type { Tensor } from "../../core/index.ts";

/** A frozen matrix that is multiplied with, and how many rows each time. */
export interface Product {
  readonly rows: number;
  readonly inFeatures: number;
  readonly outFeatures: number;
}

export interface ProductTime {
  /** Floating-point operations of all, a multiplication and an addition each counted. */
  readonly flop: number;
  readonly seconds: number;
}

/** Runs of which the fastest counts. */
const RUNS = 7;

function filled(shape: readonly number[]): Tensor<"float32"> {
  const data = new Float32Array(shape.reduce((n, d) => n * d, 1));
  for (let i = 0; i < data.length; i++) data[i] = ((i * 7919) % 1009) / 1009 - 0.5;
  return { dtype: "float32", shape, data };
}

const only = (i: number): Tensor<"int32"> => ({ dtype: "int32", shape: [1], data: Int32Array.of(i) });

async function fastest(session: Session, feeds: Readonly<Record<string, Tensor>>): Promise<number> {
  let best = Infinity;
  for (let run = 0; run <= RUNS; run++) {
    const begun = performance.now();
    await session.run(feeds);
    if (run > 0) best = Math.min(best, performance.now() - begun);
  }
  return best / 1000;
}

/** One row of each product leaves the graph, so that copies of results are not part of the time. */
async function timeOf(products: readonly Product[], { threads, form }: { readonly threads: number; readonly form: "x Wᵀ" | "y W" | "W xᵀ" }): Promise<number> {
  const builder = new GraphBuilder();
  const index = builder.input("index", "int32", [1]);
  const feeds: Record<string, Tensor> = { index: only(0) };
  const inputs = new Map<string, ReturnType<GraphBuilder["input"]>>();
  const input = (name: string, shape: readonly number[]) => {
    const value = inputs.get(name) ?? builder.input(name, "float32", shape);
    inputs.set(name, value);
    feeds[name] ??= filled(shape);
    return value;
  };
  products.forEach(({ rows, inFeatures, outFeatures }, i) => {
    const w = input(`w${i}`, [outFeatures, inFeatures]);
    const width = form === "y W" ? outFeatures : inFeatures;
    const x = input(`x ${rows} ${width}`, [rows, width]);
    const product = form === "W xᵀ" ? g.matMul(w, x, { transB: true }) : g.matMul(x, w, { transB: form === "x Wᵀ" });
    builder.output(`y${i}`, g.gather(product, index));
  });
  using session = await openSession(builder.finish(), { threads });
  return await fastest(session, feeds);
}

const flopOf = (products: readonly Product[]): number => products.reduce((sum, { rows, inFeatures, outFeatures }) => sum + 2 * rows * inFeatures * outFeatures, 0);

/** Products of a training pass: forward, and the gradient with respect to their input. Equal shapes are measured once. */
export async function trainingProducts(products: readonly Product[], threads: number): Promise<ProductTime> {
  const counts = new Map<string, { readonly product: Product; count: number }>();
  for (const product of products) {
    const key = JSON.stringify([product.rows, product.inFeatures, product.outFeatures]);
    const known = counts.get(key);
    if (known === undefined) counts.set(key, { product, count: 1 });
    else known.count++;
  }
  let seconds = 0;
  for (const { product, count } of counts.values()) {
    for (const form of ["x Wᵀ", "y W"] as const) seconds += count * (await timeOf([product], { threads, form }));
  }
  return { flop: 2 * flopOf(products), seconds };
}

/** Products of one pass forward, each with a weight of its own, so that caches hold as little of them as they do in a model; the faster order of factors. */
export async function forwardProducts(products: readonly Product[], threads: number): Promise<ProductTime> {
  const times = [await timeOf(products, { threads, form: "x Wᵀ" }), await timeOf(products, { threads, form: "W xᵀ" })];
  return { flop: flopOf(products), seconds: Math.min(...times) };
}
