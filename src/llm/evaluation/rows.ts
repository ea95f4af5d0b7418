/** Rows of one's own that a benchmark is made of: which of them are asked, whose they are, and how each becomes text. */
import { z } from "zod";
import { didYouMean, FedtuneError, must } from "../../core/base/errors.ts";
import { placeOf, type Example } from "../data/examples.ts";
import { loadExamples } from "../data/load-examples.ts";
import { formatOrigin, type RawRecord } from "../data/records.ts";
import { dataSchema } from "../data/settings.ts";
import { loadTemplate } from "../data/templates/load.ts";
import type { PromptTemplate } from "../data/templates/template.ts";
import type { BenchmarkContext, Json } from "./benchmark.ts";
import { nameIn, requireColumn } from "./fields.ts";

const { path, format, fields, template, max_tokens: maxTokens, overflow, system } = dataSchema.shape;
const names = z.array(z.union([z.string(), z.number()]).transform(String)).min(1);

/** Settings of benchmarks on rows of one's own; those that the `data` of an experiment has too mean the same. */
export const rowFields = {
  path: path.unwrap().describe("a file, a glob, or a folder with one file per client: JSON, JSONL, CSV or Parquet"),
  format, fields, template, max_tokens: maxTokens, overflow, system,
  split: z.string().min(1).optional().describe("only rows whose split is this; left out: test where rows have a split, else all"),
  split_field: z.string().min(1).default("split").describe("column with the split"),
  client_field: z.string().min(1).default("client").describe("column that says whose row it is"),
  clients: names.optional().describe("only rows of these clients; left out: all rows"),
  category: z.string().min(1).optional().describe("column whose values get figures of their own"),
};
const rowSchema = z.strictObject(rowFields);
export type RowSettings = z.infer<typeof rowSchema>;

const MAX_PROMPT_TOKENS = 512;
const { max_tokens: _cut, overflow: _overflow, ...uncut } = rowFields;
/** Those of benchmarks that ask for a row's response: prompts are never cut. */
export const promptFields = {
  ...uncut,
  max_prompt_tokens: z.int().positive().default(MAX_PROMPT_TOKENS).describe("rows whose prompt is longer are left out, and counted"),
};

/** A row that is asked. */
export interface AskedRow {
  /** Its place in the file: the same whatever is selected. */
  readonly id: string;
  /** Which row of the data it is, from 0: the same whatever is selected and wherever the files lie. */
  readonly place: number;
  readonly example: Example;
  /** Its client and category, where it has them. */
  readonly facts: Readonly<Record<string, Json>>;
}

export interface AskedRows {
  readonly rows: readonly AskedRow[];
  readonly template: PromptTemplate;
  /** Whether rows name clients. */
  readonly hasClients: boolean;
}

/** `1 row is`, `3 rows are`. */
export const rowsAre = (count: number): string => (count === 1 ? "1 row is" : `${count} rows are`);

/** Names of clients that stand for nobody: rows of the global test. */
const NOBODY = new Set(["-1", ""]);

/** Whose row it is; null: nobody's. */
function clientOf(record: RawRecord, settings: RowSettings): string | null {
  const name = nameIn(record, settings.client_field);
  return name === null || NOBODY.has(name) ? null : name;
}

/**
 * Reads the rows that the settings choose.
 * @throws FedtuneError("data") for a column that does not exist, a split or client without rows, each by name; ("config") for a bad template
 */
export async function openRows(benchmark: string, settings: RowSettings, { baseFolder, tokenizer }: BenchmarkContext): Promise<AskedRows> {
  const data = dataSchema.parse({ path: settings.path, format: settings.format, fields: settings.fields, template: settings.template, system: settings.system });
  const { records, examples } = await loadExamples(data, baseFolder);
  const file = settings.path;
  const has = (column: string): boolean => records.some(({ fields: row }) => row[column] !== undefined);
  if (settings.category !== undefined) requireColumn(records, settings.category, { setting: `${benchmark}.category`, file });
  if (settings.split !== undefined) requireColumn(records, settings.split_field, { setting: `${benchmark}.split_field`, file });
  if (settings.clients !== undefined) requireColumn(records, settings.client_field, { setting: `${benchmark}.client_field`, file });
  const wanted = settings.split ?? (has(settings.split_field) ? "test" : undefined);
  const all = records.map((record, i) => ({ record, place: i, example: must(examples[i], "example"), client: clientOf(record, settings) }));
  const ofSplit = all.filter(({ record }) => wanted === undefined || nameIn(record, settings.split_field) === wanted);
  if (ofSplit.length === 0) {
    const splits = [...new Set(records.map((record) => nameIn(record, settings.split_field) ?? "(none)"))];
    throw new FedtuneError("data", { where: file, expected: `rows whose \`${settings.split_field}\` is ${wanted ?? ""}`, got: splits.join(", "), remedy: `Set ${benchmark}.split to one of them` });
  }
  const chosen = settings.clients === undefined ? ofSplit : rowsOfClients(settings.clients, { all, ofSplit, benchmark, file, split: wanted });
  return {
    rows: chosen.map(({ record, place, example, client }) => ({ id: formatOrigin(record.origin), place, example, facts: { client, ...(settings.category === undefined ? {} : { category: nameIn(record, settings.category) }) } })),
    template: await loadTemplate(data, { tokenizer, baseFolder }),
    hasClients: chosen.some(({ client }) => client !== null),
  };
}

interface Row {
  readonly client: string | null;
}

/** The rows of some clients, each of which must have some. */
function rowsOfClients<R extends Row>(clients: readonly string[], { all, ofSplit, benchmark, file, split }: { readonly all: readonly R[]; readonly ofSplit: readonly R[]; readonly benchmark: string; readonly file: string; readonly split: string | undefined }): readonly R[] {
  const known = [...new Set(all.flatMap(({ client }) => client ?? []))];
  for (const client of clients) {
    if (!known.includes(client)) throw new FedtuneError("data", { where: `${benchmark}.clients`, expected: `clients of ${file}: ${known.join(", ")}`, got: `\`${client}\``, remedy: didYouMean(client, known) });
    if (!ofSplit.some((row) => row.client === client)) {
      const others = clients.filter((other) => ofSplit.some((row) => row.client === other));
      const remedy = [...(others.length > 0 ? [`leave it out (${benchmark}.clients=[${others.join(", ")}])`] : []), `choose another split (${benchmark}.split=…)`].join(", or ");
      throw new FedtuneError("data", { where: `${file}, client ${client}`, expected: `rows of split ${split ?? "(any)"}`, got: "none", remedy: remedy.charAt(0).toUpperCase() + remedy.slice(1), details: { client } });
    }
  }
  return ofSplit.filter(({ client }) => client !== null && clients.includes(client));
}

/** A row as a task and its response. */
export interface AskedPrompt extends Omit<AskedRow, "example"> {
  /** The row by the template, up to where its first answer begins. */
  readonly prompt: string;
  /** That answer, without the end token. */
  readonly response: string;
}

export interface PromptOptions {
  /** What an answer may take beside the prompt, and the setting that says so. */
  readonly answer: { readonly setting: string; readonly tokens: number };
  readonly context: Pick<BenchmarkContext, "tokenizer" | "contextTokens">;
}

function promptOf({ example, ...row }: AskedRow, template: PromptTemplate): AskedPrompt {
  const { pieces } = template.render(example);
  const first = pieces.findIndex(({ learn }) => learn);
  if (first < 1 || example.kind === "text") throw new FedtuneError("data", { where: placeOf(example), expected: "rows with a task and a response", got: "plain text", remedy: "Give rows with an instruction and an output, or conversations" });
  const response = example.kind === "instruction" ? example.output : (example.messages.find(({ role }) => role === "assistant")?.content ?? "");
  return { ...row, prompt: pieces.slice(0, first).map(({ text }) => text).join(""), response };
}

/**
 * What rows ask and which response they have; rows whose prompt is too long are left out, and `notes` say how many.
 * @throws FedtuneError("data") for rows of plain text, and where no prompt fits; ("config") where answers leave no room for prompts
 */
export function promptsOf(benchmark: string, { rows, template }: AskedRows, { path, max_prompt_tokens: most }: { readonly path: string; readonly max_prompt_tokens: number }, { answer, context: { tokenizer, contextTokens } }: PromptOptions): { readonly prompts: readonly AskedPrompt[]; readonly notes: readonly string[] } {
  const setting = `${benchmark}.${answer.setting}`;
  const room = Math.min(most, contextTokens - answer.tokens);
  if (room < 1) throw new FedtuneError("config", { where: setting, expected: `fewer than the model's ${contextTokens} tokens, so that prompts have room`, got: String(answer.tokens), remedy: `Lower ${setting}` });
  // One for the bos.
  const prompts = rows.map((row) => promptOf(row, template)).filter(({ prompt }) => 1 + tokenizer.encode(prompt, { addSpecialTokens: false }).length <= room);
  if (prompts.length === 0) throw new FedtuneError("data", { where: path, expected: `rows whose prompt has at most ${room} tokens`, got: `none of ${rows.length}`, remedy: `Raise ${benchmark}.max_prompt_tokens, or lower ${setting}` });
  const long = rows.length - prompts.length;
  return { prompts, notes: long > 0 ? [`${rowsAre(long)} left out: a prompt of more than ${room} tokens`] : [] };
}
