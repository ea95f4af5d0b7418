/** The rows of the quality experiment: three data sets, each with training rows and held-out ones, tokenised. */
import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { dataSchema, encodeExamples, loadExamples, loadTemplate, loadTokenizer } from "../../src/llm/index.ts";
import type { EncodedDataset } from "../../src/llm/index.ts";

/** Rows to train on and rows to judge by, as indices into one data set. */
export interface QualityRows {
  readonly data: EncodedDataset;
  readonly train: Int32Array;
  readonly validation: Int32Array;
}

export interface RowOptions {
  readonly modelFolder: string;
  /** Folder of the data sets. */
  readonly dataFolder: string;
  /** Longest row in tokens. */
  readonly tokens: number;
  /** Rows to train on and to judge by; fewer where the data set has no more. */
  readonly trainRows: number;
  readonly validationRows: number;
}

/** A row of token ids and the labels of those that are learnt. */
interface Row {
  readonly ids: Int32Array;
  readonly labels: Int32Array;
}

function join32(rows: readonly Row[]): EncodedDataset {
  const shared = (length: number): Int32Array<SharedArrayBuffer> => new Int32Array(new SharedArrayBuffer(4 * length));
  const total = rows.reduce((sum, { ids }) => sum + ids.length, 0);
  const [ids, labels, offsets] = [shared(total), shared(total), shared(rows.length + 1)];
  let at = 0;
  rows.forEach((row, i) => {
    ids.set(row.ids, at);
    labels.set(row.labels, at);
    at += row.ids.length;
    offsets[i + 1] = at;
  });
  return { ids, labels, offsets };
}

/** `count` elements spread evenly over a list, or all of a shorter one. */
function spread<T>(list: readonly T[], count: number): readonly T[] {
  return list.length <= count ? list : Array.from({ length: count }, (_, i) => i).flatMap((i) => list.slice(Math.floor((i * list.length) / count), Math.floor((i * list.length) / count) + 1));
}

function rowsOf(train: readonly Row[], validation: readonly Row[]): QualityRows {
  return {
    data: join32([...train, ...validation]),
    train: Int32Array.from(train.keys()),
    validation: Int32Array.from(validation.keys(), (i) => train.length + i),
  };
}

/** Instructions of a file under the Alpaca prompt; rows without a learnt token within the limit are left out. */
async function instructionRows(file: string, { modelFolder, tokens }: RowOptions, keep: (fields: Readonly<Record<string, unknown>>) => boolean = () => true): Promise<readonly Row[]> {
  const settings = dataSchema.parse({ path: file, template: "alpaca", max_tokens: tokens });
  const tokenizer = loadTokenizer(modelFolder);
  const template = await loadTemplate(settings, { tokenizer, baseFolder: resolve(".") });
  const { examples } = await loadExamples(settings, resolve("."));
  const { dataset } = await encodeExamples(examples.filter(({ fields }) => keep(fields)), { tokenizer, template, settings });
  return Array.from({ length: dataset.offsets.length - 1 }, (_, i) => {
    const range = [dataset.offsets[i], dataset.offsets[i + 1]] as const;
    return { ids: dataset.ids.slice(...range), labels: dataset.labels.slice(...range) };
  });
}

/** Dolly: every tenth training row is held out. */
async function dolly(options: RowOptions): Promise<QualityRows> {
  const rows = await instructionRows(join(options.dataFolder, "dolly15k", "dolly15k-fedit10.jsonl"), options, ({ split }) => split === "train");
  return rowsOf(spread(rows.filter((_, i) => i % 10 !== 9), options.trainRows), spread(rows.filter((_, i) => i % 10 === 9), options.validationRows));
}

/** GSM8K: its own test file is held out. */
async function gsm8k(options: RowOptions): Promise<QualityRows> {
  const file = (name: string): string => join(options.dataFolder, "gsm8k", name);
  return rowsOf(spread(await instructionRows(file("train.jsonl"), options), options.trainRows), spread(await instructionRows(file("test.jsonl"), options), options.validationRows));
}

/** Shakespeare's plays as plain text in windows, all tokens learnt; the last tenth is held out. */
function shakespeare({ modelFolder, dataFolder, tokens, trainRows, validationRows }: RowOptions): Promise<QualityRows> {
  const ids = Int32Array.from(loadTokenizer(modelFolder).encode(readFileSync(join(dataFolder, "tinyshakespeare", "input.txt"), "utf8"), { addSpecialTokens: false }));
  const windows = Array.from({ length: Math.floor(ids.length / tokens) }, (_, i) => ids.slice(i * tokens, (i + 1) * tokens)).map((window): Row => ({ ids: window, labels: window }));
  const held = Math.floor(windows.length * 0.9);
  return Promise.resolve(rowsOf(spread(windows.slice(0, held), trainRows), spread(windows.slice(held), validationRows)));
}

/** The data sets by name. */
export const DATA_SETS: Readonly<Record<"dolly" | "gsm8k" | "shakespeare", (options: RowOptions) => Promise<QualityRows>>> = { dolly, gsm8k, shakespeare };
export type DataSetName = keyof typeof DATA_SETS;
