/** The part of the config that the data owns: where examples come from, how they are put to the model, who holds which. */
import { z } from "zod";
import { DERIVED_NAMES } from "./derived/derived.ts";

const fieldName = z.string().min(1);

export const fieldsSchema = z.strictObject({
  instruction: fieldName.optional().describe("field with the task; by default `instruction`, `question` or `prompt`, whichever there is"),
  input: fieldName.optional().describe("field with further context, may be empty; by default `input` or `context`"),
  output: fieldName.optional().describe("field with the answer; by default `output`, `response`, `answer` or `completion`"),
  category: fieldName.optional().describe("field that a partition means by `category`; by default `category`"),
  messages: fieldName.optional().describe("field with a conversation: a list of {role, content} or of ShareGPT's {from, value}; by default `messages` or `conversations`"),
  text: fieldName.optional().describe("field with plain text to be learnt whole; by default `text`"),
});
export type FieldSettings = z.infer<typeof fieldsSchema>;

/** Endings of files that `template` may name. */
export const TEMPLATE_FILE = /\.(jinja|jinja2|j2|ts|mts|js|mjs)$/;

export const dataSchema = z
  .strictObject({
    path: z.string().min(1).optional().describe("a file, a glob, or a folder with one file per client"),
    name: z.string().min(1).optional().describe("in place of `path` a built-in data set (`fedtune data list`), or files of a data set on the Hub: hub:owner/name@revision/file, where `*` may stand in the file's name"),
    part: z.string().min(1).optional().describe("which part of a built-in data set, as `fedtune data show` lists them; by default the one to train on"),
    format: z.enum(["auto", "json", "jsonl", "csv", "parquet", "text"]).default("auto").describe("file format; auto goes by each file's ending (.gz is unpacked); text: one row for each block between blank lines"),
    fields: fieldsSchema.prefault({}).describe("which field of a row means what"),
    derive: z.array(z.enum(DERIVED_NAMES)).optional().describe("fields made by rule where rows have none: language (of code, from instruction and answer), speaker (of a play's lines); by default those of the built-in data set"),
    sample: z.number().gt(0).max(1).optional().describe("share of each file's rows that is taken, drawn at random under the seed; by default all"),
    template: z
      .string()
      .default("alpaca")
      .refine((name) => ["alpaca", "chat", "plain"].includes(name) || TEMPLATE_FILE.test(name), "expected alpaca, chat, plain, or the path of a .jinja, .ts or .js file")
      .describe("how an example becomes text: alpaca, chat (the model's own template), plain, or the path of a .jinja, .ts or .js file"),
    source: z.string().min(1).optional().describe("a module of one's own in place of `path`: its default export is an async generator of rows"),
    max_tokens: z.int().min(2).default(512).describe("longest example in tokens"),
    overflow: z.enum(["truncate", "drop"]).default("truncate").describe("what happens to a longer example: its end is cut off, or it is left out"),
    client_field: fieldName.optional().describe("field that says whose row it is, for the partition `own`; by default `client`"),
    split_field: fieldName.optional().describe("field with train, validation or test; for the partition `own` by default `split` where rows have it"),
    max_examples_per_client: z.int().positive().optional().describe("training examples that a client keeps at most, drawn at random under the seed; validation and test rows are kept"),
    compat: z.enum(["fsllm"]).optional().describe("fsllm: prompts as FederatedScope-LLM writes them, its fault included: a row without the input field gets the input `None`"),
    system: z.string().optional().describe("system prompt put before conversations that have none (template chat)"),
  })
  .refine((data) => [data.path, data.name, data.source].filter((given) => given !== undefined).length === 1, { error: "expected one of path, name and source", path: ["path"] })
  .refine((data) => data.part === undefined || data.name !== undefined, { error: "expected no part without a name", path: ["part"] });
export type DataSettings = z.infer<typeof dataSchema>;

const fraction = z.number().min(0).max(1);

export const splitSchema = z
  .strictObject({
    train: fraction.default(0.8).describe("fraction of a client's examples that it trains on"),
    validation: fraction.default(0.1).describe("fraction that rounds are judged by"),
    test: fraction.default(0.1).describe("fraction kept for the final figures"),
  })
  .refine((s) => Math.abs(s.train + s.validation + s.test - 1) < 1e-6, "expected train, validation and test to sum to 1")
  .refine((s) => s.train > 0, "expected train above 0");
export type SplitSettings = z.infer<typeof splitSchema>;

const splitting = {
  split: splitSchema.prefault({}).describe("fractions that each client's examples are split into, unless the rows say it themselves"),
  validation_fraction: z.number().min(0).max(0.9).default(0.05).describe("share of its training rows that a client without validation rows holds out, where the rows bring their own split"),
};

/** Of the methods that the reference system has as well. */
const likeReference = {
  compat: z.enum(["fsllm"]).optional().describe("fsllm: rows are split as FederatedScope-LLM does (not with its random bits): train, validation and test are cut first and each is shared out apart, so that a client's test rows need not be of its own kind"),
};

export const partitionSchema = z.discriminatedUnion("method", [
  z.strictObject({
    method: z.literal("iid").describe("examples dealt out at random in equal parts"),
    clients: z.int().positive().describe("number of clients"),
    ...likeReference,
    ...splitting,
  }),
  z.strictObject({
    method: z.literal("dirichlet").describe("for each value of a field, shares drawn from a Dirichlet distribution (Hsu et al. 2019)"),
    clients: z.int().positive().describe("number of clients"),
    field: fieldName.describe("field whose values are spread unevenly"),
    alpha: z.number().positive().default(0.5).describe("concentration: small is uneven, large is nearly equal"),
    min_size: z.int().positive().default(1).describe("examples that each client gets at least; drawn anew until it holds"),
    ...likeReference,
    ...splitting,
  }),
  z.strictObject({
    method: z.literal("field").describe("one client per value of a field"),
    field: fieldName.describe("field whose value names the client"),
    min_examples: z.int().positive().optional().describe("values with fewer examples are left out and named; by default 100 for a derived field (data.derive), else 1"),
    clients: z.int().positive().optional().describe("number of clients: values beyond it join the others in turn, the most frequent first; by default one client per value"),
    ...likeReference,
    ...splitting,
  }),
  z.strictObject({ method: z.literal("file").describe("one client per file"), ...splitting }),
  z.strictObject({ method: z.literal("own").describe("the clients and splits that the rows bring in data.client_field and data.split_field"), ...splitting }),
]);
export type PartitionSettings = z.infer<typeof partitionSchema>;
