/** Finds imports that a folder's row does not allow, cycles, and barrels that hold code. Works on texts; reading files is left to others. */
import { posix } from "node:path";
import { parseImports } from "./imports.ts";
import { BARRELS, LAYERS, type Layer } from "./table.ts";

/** One sentence per violation: where, what was found, what is allowed. */
export type Violations = readonly string[];

/** Checks files given as path (relative to src/, with "/") → text. Tests and their fixtures (`x.fixture.ts`) may import anything and are left out. */
export function checkLayers(files: ReadonlyMap<string, string>): Violations {
  const violations: string[] = [];
  const edges = new Map<string, string[]>();
  for (const [file, text] of files) {
    if (!file.endsWith(".ts") || /\.(test|fixture|d)\.ts$/.test(file)) continue;
    const { imports, onlyReExports, syntaxErrors } = parseImports(file, text);
    violations.push(...syntaxErrors.map((e) => `${file}: expected TypeScript, got a syntax error: ${e}`));
    const barrel = BARRELS.includes(file);
    const layer = layerOf(file);
    if (barrel && !onlyReExports) violations.push(`${file}: expected re-exports and nothing else, got code. Move it to a file of its own.`);
    if (!barrel && layer === undefined) violations.push(`${file}: expected a folder of the table, got a new one. Add its row to tools/layers/table.ts.`);
    const targets: string[] = [];
    for (const { specifier, line } of imports) {
      if (!specifier.startsWith(".")) continue;
      const target = posix.join(posix.dirname(file), specifier);
      if (!files.has(target)) continue; // an asset, a generated file, or a name that tsc refuses
      targets.push(target);
      const refused = refusal({ file, layer, target });
      if (refused !== undefined) violations.push(`${file}:${line}: ${refused}`);
    }
    edges.set(file, targets);
  }
  return [...violations, ...findCycles(edges).map((cycle) => `${cycle[0]}: expected no cycle, got ${[...cycle, cycle[0]].join(" → ")}. Move what they share to a file of its own.`)];
}

function layerOf(file: string): Layer | undefined {
  return LAYERS.find((layer) => within(file, layer.path));
}

function within(file: string, path: string): boolean {
  return file === path || file === `${path}.ts` || file.startsWith(`${path}/`);
}

/** Why an edge is not allowed, or undefined where it is. */
function refusal(edge: { readonly file: string; readonly layer: Layer | undefined; readonly target: string }): string | undefined {
  const { file, layer, target } = edge;
  if (BARRELS.includes(file)) {
    const room = posix.dirname(file);
    return room === "." || target.startsWith(`${room}/`) ? undefined : `expected files of ${room}/, got ${target}.`;
  }
  if (layer === undefined || within(target, layer.path)) return undefined;
  if (layer.mayImport.some((path) => within(target, path))) return undefined;
  return `expected imports of ${layer.path}/${layer.mayImport.map((p) => `, ${p}`).join("")}, got ${target}. Move the code to the layer that may, or pass the value in.`;
}

/** Every group of files that import each other in a circle (Tarjan's strongly connected components), each as one path around. */
function findCycles(edges: ReadonlyMap<string, readonly string[]>): string[][] {
  const index = new Map<string, number>();
  const low = new Map<string, number>();
  const stack: string[] = [];
  const cycles: string[][] = [];
  const visit = (file: string): void => {
    index.set(file, index.size);
    low.set(file, index.get(file) ?? 0);
    stack.push(file);
    for (const next of edges.get(file) ?? []) {
      if (!index.has(next)) {
        visit(next);
        low.set(file, Math.min(low.get(file) ?? 0, low.get(next) ?? 0));
      } else if (stack.includes(next)) low.set(file, Math.min(low.get(file) ?? 0, index.get(next) ?? 0));
    }
    if (low.get(file) !== index.get(file)) return;
    const component = stack.splice(stack.indexOf(file));
    if (component.length > 1 || (edges.get(file) ?? []).includes(file)) cycles.push(component);
  };
  for (const file of edges.keys()) if (!index.has(file)) visit(file);
  return cycles;
}
