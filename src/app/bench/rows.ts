/** The rows that a benchmark trains on: random tokens, or rows of a file by the peer's rule. */
import { resolve } from "node:path";
import { dataSchema, encodeExample, encodeExamples, loadExamples, loadTemplate, loadTokenizer } from "../../llm/index.ts";
import type { EncodedDataset } from "../../llm/index.ts";
import type { ClientRows } from "../../federation/index.ts";
import { FedtuneError, randomKey, uniforms } from "../../core/index.ts";

function shared(values: ArrayLike<number>): Int32Array<SharedArrayBuffer> {
  const array = new Int32Array(new SharedArrayBuffer(values.length * 4));
  array.set(values);
  return array;
}

/** `examples` rows of `tokens` random ids, all of them labelled. */
export function randomRows(vocabSize: number, examples: number, tokens: number): EncodedDataset {
  const ids = shared(Int32Array.from(uniforms(randomKey(0, "bench rows"), [], examples * tokens), (u) => Math.floor(u * vocabSize)));
  return { ids, labels: ids, offsets: shared(Int32Array.from({ length: examples + 1 }, (_, i) => i * tokens)) };
}

/**
 * `examples` training rows spread evenly over a file (row ⌊k · n / examples⌋), under the Alpaca prompt, cut to `tokens`;
 * where the cut leaves no labelled token the next row takes its place.
 */
export async function fileRows(modelFolder: string, file: string, examples: number, tokens: number): Promise<EncodedDataset> {
  const settings = dataSchema.parse({ path: file, template: "alpaca", max_tokens: tokens });
  const tokenizer = loadTokenizer(modelFolder);
  const template = await loadTemplate(settings, { tokenizer, baseFolder: resolve(".") });
  const context = { tokenizer, template, settings };
  const table = (await loadExamples(settings, resolve("."))).examples.filter((e) => (e.fields["split"] ?? "train") === "train");
  const chosen: typeof table[number][] = [];
  let next = 0;
  for (let k = 0; k < examples; k++) {
    let at = Math.max(next, Math.floor((k * table.length) / examples));
    let row = table[at];
    while (row !== undefined && encodeExample(row, context) === undefined) row = table[++at];
    if (row === undefined) throw new FedtuneError("data", { where: file, expected: `${examples} training rows with a labelled token within ${tokens} tokens`, got: `${chosen.length}`, remedy: "Lower --examples" });
    chosen.push(row);
    next = at + 1;
  }
  return (await encodeExamples(chosen, context)).dataset;
}

/** Who holds which rows of `fileRows`: row k is client ⌊k / steps⌋'s, as with the peer, so that each client has `steps` of its own. */
export function rowsByClient({ offsets }: EncodedDataset, { clients, steps }: { readonly clients: number; readonly steps: number }): ReadonlyMap<number, ClientRows> {
  return new Map(Array.from({ length: clients }, (_, client) => {
    const examples = Int32Array.from({ length: steps }, (__, i) => client * steps + i);
    return [client, { examples, tokens: (offsets[(client + 1) * steps] ?? 0) - (offsets[client * steps] ?? 0) }] as const;
  }));
}
