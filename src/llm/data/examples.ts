/**
 * Rows become examples: an instruction with its answer, a conversation, or plain text.
 * Which fields mean what is settled once per data set by resolveFields; how an example becomes text is left to templates/.
 */
import { didYouMean, FedtuneError } from "../../core/base/errors.ts";
import type { ChatMessage } from "../text/chat-template.ts";
import { describeValue, formatOrigin, type Origin, type RawRecord } from "./records.ts";
import { readConversation } from "./conversations.ts";
import type { DataSettings, FieldSettings } from "./settings.ts";

/** A task and its answer. */
export interface InstructionExample {
  readonly kind: "instruction";
  readonly instruction: string;
  /** Further context; absent where the row has none or an empty one. */
  readonly input?: string;
  readonly output: string;
  /** All fields of the row. */
  readonly fields: Readonly<Record<string, unknown>>;
  /** Where the row stands; absent for an example that is typed in. */
  readonly origin?: Origin;
}

/** A conversation of any number of turns. */
export interface ConversationExample {
  readonly kind: "conversation";
  readonly messages: readonly ChatMessage[];
  readonly fields: Readonly<Record<string, unknown>>;
  readonly origin?: Origin;
}

/** Text to be learnt whole. */
export interface TextExample {
  readonly kind: "text";
  readonly text: string;
  readonly fields: Readonly<Record<string, unknown>>;
  readonly origin?: Origin;
}

export type Example = InstructionExample | ConversationExample | TextExample;

/** Where an example stands, for messages. */
export function placeOf(example: Example): string {
  return example.origin === undefined ? "example" : formatOrigin(example.origin);
}

/** Which field of a row means what, with nothing left to guess. */
export type ResolvedFields =
  | {
      readonly kind: "instruction";
      readonly instruction: string;
      readonly input?: string;
      readonly output: string;
      /** What stands for an input that a row has not got, where that is not nothing. */
      readonly missingInput?: string;
    }
  | { readonly kind: "conversation"; readonly messages: string }
  | { readonly kind: "text"; readonly text: string };

const USUAL = {
  instruction: ["instruction", "question", "prompt"],
  input: ["input", "context"],
  output: ["output", "response", "answer", "completion"],
  messages: ["messages", "conversations"],
  text: ["text"],
} as const;

function missingField(record: RawRecord, expected: string, meant: string): FedtuneError {
  const names = Object.keys(record.fields);
  const near = didYouMean(meant, names);
  return new FedtuneError("data", {
    where: formatOrigin(record.origin),
    expected,
    got: names.length === 0 ? "no fields" : `fields ${names.slice(0, 12).join(", ")}`,
    remedy: near === "" ? "Name the field in data.fields" : near,
    details: { file: record.origin.file, at: record.origin.at, fields: names },
  });
}

/**
 * Settles which fields are meant: those that the settings name, else the usual ones that the first row has.
 * `compat` fsllm: a row without an input gets the word that the reference system shows there.
 * Throws FedtuneError "data" with the first row's place and fields where they cannot be told, or a named input is in no row.
 */
export function resolveFields(settings: FieldSettings, records: readonly RawRecord[], compat?: DataSettings["compat"]): ResolvedFields {
  const first = records[0];
  if (first === undefined) throw new Error("resolveFields: no rows");
  const has = (name: string): boolean => first.fields[name] !== undefined;
  const usual = (part: keyof typeof USUAL): string | undefined => settings[part] ?? USUAL[part].find(has);

  if (settings.messages !== undefined) return { kind: "conversation", messages: settings.messages };
  if (settings.text !== undefined) return { kind: "text", text: settings.text };
  const asked = settings.instruction !== undefined || settings.output !== undefined;
  const messages = USUAL.messages.find((name) => Array.isArray(first.fields[name]));
  if (!asked && messages !== undefined) return { kind: "conversation", messages };
  const instruction = usual("instruction");
  const output = usual("output");
  if (instruction !== undefined && output !== undefined) {
    if (settings.input !== undefined && !records.some((record) => settings.input !== undefined && settings.input in record.fields)) {
      throw missingField(first, `a field \`${settings.input}\` (data.fields.input) in some row`, settings.input);
    }
    // Rows may leave an empty input out, so the usual names are looked for in all of them.
    const input = settings.input ?? USUAL.input.find((name) => records.some((record) => record.fields[name] !== undefined));
    // FederatedScope-LLM puts Python's None where a row has no such field, and shows it to the model as a word.
    const missing = compat === "fsllm" ? { missingInput: "None" } : {};
    return { kind: "instruction", instruction, output, ...(input === undefined ? {} : { input }), ...missing };
  }
  if (!asked && has("text")) return { kind: "text", text: "text" };
  if (instruction === undefined) throw missingField(first, "a field `instruction`, `messages` or `text`", "instruction");
  throw missingField(first, "a field `output` with the answer", "output");
}

/** A field as text: numbers and truth values as JSON writes them. Throws where it is missing, null, or has parts. */
function readText(record: RawRecord, field: string): string {
  const value = record.fields[field];
  if (typeof value === "string") return value;
  if (typeof value === "number" || typeof value === "boolean") return String(value);
  if (value === undefined) throw missingField(record, `a field \`${field}\``, field);
  throw new FedtuneError("data", { where: formatOrigin(record.origin), expected: `text in the field \`${field}\``, got: describeValue(value), remedy: "Mend or remove the row" });
}

function readOptionalText(record: RawRecord, field: string | undefined, missing: string | undefined): string | undefined {
  if (field === undefined || record.fields[field] === undefined || record.fields[field] === null) return missing;
  const text = readText(record, field);
  return text === "" ? undefined : text;
}

/** One row as an example. Throws FedtuneError "data" with file and line for a missing field or a wrong value. */
export function toExample(record: RawRecord, fields: ResolvedFields): Example {
  switch (fields.kind) {
    case "conversation": {
      const value = record.fields[fields.messages];
      if (value === undefined) throw missingField(record, `a field \`${fields.messages}\``, fields.messages);
      return { kind: "conversation", messages: readConversation(value, `${formatOrigin(record.origin)}, field \`${fields.messages}\``), fields: record.fields, origin: record.origin };
    }
    case "text":
      return { kind: "text", text: readText(record, fields.text), fields: record.fields, origin: record.origin };
    case "instruction": {
      const input = readOptionalText(record, fields.input, fields.missingInput);
      return {
        kind: "instruction",
        instruction: readText(record, fields.instruction),
        output: readText(record, fields.output),
        ...(input === undefined ? {} : { input }),
        fields: record.fields,
        origin: record.origin,
      };
    }
    default:
      return fields satisfies never;
  }
}
