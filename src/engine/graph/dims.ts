/** Symbolic dimensions: a number, a symbol ("T"), or a product such as "2*B*T" in canonical form. */

/** A dimension: a known number, or a canonical product of an integer and symbols. */
export type Dim = number | string;

interface Monomial {
  readonly factor: number;
  readonly symbols: readonly string[];
}

function parse(dim: Dim): Monomial {
  if (typeof dim === "number") return { factor: dim, symbols: [] };
  const parts = dim.split("*");
  const factor = /^\d+$/.test(parts[0] ?? "") ? Number(parts.shift()) : 1;
  return { factor, symbols: parts.sort() };
}

function format({ factor, symbols }: Monomial): Dim {
  if (symbols.length === 0 || factor === 0) return factor;
  return (factor === 1 ? symbols : [String(factor), ...symbols]).join("*");
}

/** The product of dimensions, in canonical form. */
export function multiplyDims(...dims: readonly Dim[]): Dim {
  const all = dims.map(parse);
  return format({ factor: all.reduce((n, d) => n * d.factor, 1), symbols: all.flatMap((d) => d.symbols).sort() });
}

/** The symbols of a dimension ([] for a number). */
export function symbolsOf(dim: Dim): readonly string[] {
  return parse(dim).symbols;
}

/** The integer factor of a dimension (the number itself for a number). */
export function factorOf(dim: Dim): number {
  return parse(dim).factor;
}

/** A dimension divided by an integer. Throws where its factor is no multiple of it. */
export function divideDim(dim: Dim, by: number): Dim {
  const { factor, symbols } = parse(dim);
  if (factor % by !== 0) throw new Error(`dimension ${dim}: expected a multiple of ${by}`);
  return format({ factor: factor / by, symbols });
}

/** The value of a dimension once its symbols are bound. Throws where one is not. */
export function bindDim(dim: Dim, bindings: ReadonlyMap<string, number>): number {
  const { factor, symbols } = parse(dim);
  return symbols.reduce((n, symbol) => {
    const value = bindings.get(symbol);
    if (value === undefined) throw new Error(`dimension ${dim}: symbol ${symbol} is not bound`);
    return n * value;
  }, factor);
}

/** NumPy's broadcasting of two shapes, or undefined where they do not fit. */
export function broadcastShapes(a: readonly Dim[], b: readonly Dim[]): Dim[] | undefined {
  const rank = Math.max(a.length, b.length);
  const out: Dim[] = [];
  for (let i = 0; i < rank; i++) {
    const x = a[i - rank + a.length] ?? 1;
    const y = b[i - rank + b.length] ?? 1;
    if (x !== y && x !== 1 && y !== 1) return undefined;
    out.push(x === 1 ? y : x);
  }
  return out;
}
