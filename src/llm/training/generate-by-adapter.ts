/** Generation where each prompt may have an adapter of its own: rows are grouped by adapter, and the groups share one pass over the base. */
import { FedtuneError, must } from "../../core/base/errors.ts";
import { tensor } from "../../core/base/tensor.ts";
import type { NamedTensors, Tensor } from "../../core/base/tensor.ts";
import type { ArchitectureModel } from "../architectures/architecture.ts";
import type { Tokenizer } from "../text/tokenizer.ts";
import type { EarlierTexts } from "./earlier-text.ts";
import { generateTexts } from "./generation.ts";
import type { GenerationContext } from "./generation.ts";
import type { OpenedAdapter } from "./opened-adapter.ts";
import type { SessionPool } from "./session-pool.ts";
import type { GenerateJob } from "./types.ts";

export interface AdaptedGeneration {
  readonly model: ArchitectureModel;
  readonly tokenizer: Tokenizer;
  readonly opened: OpenedAdapter | undefined;
  readonly sessions: SessionPool;
  readonly earlierTexts: EarlierTexts;
  readonly aborted: () => boolean;
  readonly onToken: (row: number, id: number) => void;
}

/** Prompts of one adapter, by their places. */
interface Group {
  readonly adapter: NamedTensors<"float32">;
  readonly places: number[];
}

/** New token ids of each prompt, in the order of the prompts. Errors as `generateTexts`, and for adapters that are not one for each prompt. */
export async function generateByAdapter(generation: AdaptedGeneration, job: GenerateJob): Promise<readonly Int32Array[]> {
  const { prompts, adapter = null, adapters = prompts.map(() => adapter), shared, draws } = job;
  if (adapters.length !== prompts.length) throw new FedtuneError("config", { where: "adapters", expected: `one for each of ${prompts.length} prompts`, got: String(adapters.length), remedy: "Give null for a prompt that the base is to answer" });
  if (shared !== undefined && new Set(adapters).size > 1) throw new Error("generate: a shared text is read under one adapter, got several");
  const bare: number[] = [];
  const groups = new Map<NamedTensors<"float32">, Group>();
  adapters.forEach((own, place) => {
    if (own === null) bare.push(place);
    else groups.set(own, { adapter: own, places: [...(groups.get(own)?.places ?? []), place] });
  });
  const results: Int32Array[] = [];
  const run = async (context: Omit<GenerationContext, "model" | "tokenizer" | "aborted" | "onToken" | "places">, places: readonly (number | null)[]): Promise<void> => {
    const filler = must(prompts[0], "prompt");
    const earlier = shared === undefined ? undefined : await generation.earlierTexts.get(context.session, { ...generation, ...context }, shared);
    const texts = await generateTexts({ ...generation, ...context, places, earlier, ...(draws === undefined ? {} : { draws }) }, places.map((place) => (place === null ? filler : must(prompts[place], "prompt"))), job.options);
    places.forEach((place, row) => {
      if (place !== null) results[place] = must(texts[row], "text");
    });
  };
  const { sessions } = generation;
  if (bare.length > 0) await run({ session: await sessions.generate(false), decode: () => sessions.decode(false, { several: false, rows: bare.length }), adapted: undefined }, bare);
  if (groups.size > 0) {
    const list = [...groups.values()];
    const rows = Math.max(...list.map(({ places }) => places.length));
    const places = list.flatMap((group) => Array.from({ length: rows }, (_, i) => group.places[i] ?? null));
    const several = list.length > 1;
    await run({ session: await sessions.generate(true, several), decode: () => sessions.decode(true, { several, rows: places.length }), adapted: await adaptedBy(generation, list) }, places);
  }
  return results;
}

/** The groups' adapters as feeds, one after another along the client axis. */
export async function adaptedBy({ opened, sessions }: Pick<AdaptedGeneration, "opened" | "sessions">, groups: readonly Pick<Group, "adapter">[]): Promise<NonNullable<GenerationContext["adapted"]>> {
  if (opened === undefined) throw new FedtuneError("internal", { where: "trainer", expected: "a setup with an adapter", got: "none" });
  const rows: Float32Array[] = [];
  let feeds: Readonly<Record<string, Tensor>> = {};
  for (const { adapter } of groups) {
    feeds = await opened.feeds(adapter);
    // Parameters are float32 by the graph's types.
    rows.push((feeds["parameters"]?.data ?? new Float32Array()) as Float32Array);
  }
  const size = rows[0]?.length ?? 0;
  const data = new Float32Array(rows.length * size);
  rows.forEach((row, i) => data.set(row, i * size));
  return { adapter: opened.adapter, feeds: { ...feeds, parameters: tensor("float32", [rows.length, size], data) }, prefix: () => sessions.prefix() };
}
