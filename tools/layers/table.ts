/** Which folder of src/ may import which: the table of the design, as data. */

/** One layer: its folder or file (relative to src/) and the prefixes it may import beside its own files. */
export interface Layer {
  readonly path: string;
  readonly mayImport: readonly string[];
}

const CORE = ["core/base", "core/formats", "core/store"];
const ENGINE = ["engine/graph", "engine/passes", "engine/runtime"];
const STRATEGIES = ["federation/strategies", "federation/privacy", "federation/robust"];
const TRAINING = [...CORE, ...ENGINE, "llm/text", "llm/data", "llm/architectures", "llm/adapters"];
const LLM = ["llm/text", "llm/data", "llm/architectures", "llm/adapters", "llm/training", "llm/evaluation"];
const FEDERATION = ["federation/protocol", ...STRATEGIES, "federation/rounds", "federation/transports"];

/** The public API: barrels that re-export and hold no code; only app/* imports them. */
export const BARRELS: readonly string[] = ["index.ts", "core/index.ts", "engine/index.ts", "llm/index.ts", "federation/index.ts"];

/** What people see: each reaches the rest through the barrels; the command line also starts the others. */
const SEEN: readonly Layer[] = [
  { path: "app/report", mayImport: BARRELS },
  { path: "app/bench", mayImport: BARRELS },
  { path: "app/api", mayImport: BARRELS },
  { path: "app/cli", mayImport: [...BARRELS, "app/report", "app/bench", "app/api"] },
];

export const LAYERS: readonly Layer[] = [
  { path: "core/base", mayImport: [] },
  { path: "core/formats", mayImport: ["core/base"] },
  { path: "core/store", mayImport: ["core/base", "core/formats"] },
  { path: "engine/graph", mayImport: CORE },
  { path: "engine/passes", mayImport: ["engine/graph", ...CORE] },
  { path: "engine/runtime", mayImport: ["engine/graph", ...CORE] },
  { path: "llm/text", mayImport: CORE },
  { path: "llm/data", mayImport: ["llm/text", ...CORE] },
  { path: "llm/architectures", mayImport: ["engine/graph", "engine/passes", ...CORE] },
  // Adapters see what every architecture declares (its modules and sites), never one architecture by name.
  { path: "llm/adapters", mayImport: ["llm/architectures/architecture", "llm/architectures/sites", "engine/graph", ...CORE] },
  { path: "llm/training", mayImport: TRAINING },
  { path: "llm/evaluation", mayImport: ["llm/training", ...TRAINING] },
  { path: "federation/protocol", mayImport: CORE },
  ...STRATEGIES.map((path) => ({ path, mayImport: CORE })),
  { path: "federation/rounds", mayImport: ["federation/protocol", ...STRATEGIES, ...LLM, ...CORE] },
  { path: "federation/transports", mayImport: ["federation/protocol", ...CORE] },
  { path: "app/experiment", mayImport: [...CORE, ...ENGINE, ...LLM, ...FEDERATION] },
  ...SEEN,
];
