/** Keeps encoded examples in a file, so that a data set is tokenised once for a tokenizer, template and limit. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { FedtuneError } from "../../core/base/errors.ts";
import { canonicalJson, sha256 } from "../../core/base/hash.ts";
import { tensor, type Tensor } from "../../core/base/tensor.ts";
import { ensureWritableFolder } from "../../core/store/files.ts";
import { readSafetensors, type SafetensorsContent } from "../../core/formats/safetensors.ts";
import { writeSafetensors } from "../../core/formats/safetensors-writer.ts";
import { encodeExamples, type EncodedExamples, type EncodeOptions } from "./encode.ts";
import type { LoadedExamples } from "./load-examples.ts";

/** Raised whenever the same inputs would be encoded differently. */
const VERSION = 1;
const NAMES = ["ids", "labels", "offsets", "kept"] as const;

const count = z.int().nonnegative();
const reportSchema = z.object({ examples: count, truncated: count, dropped: count, tokens: count, labelledTokens: count });

/** Writes encoded examples as safetensors. Throws FedtuneError "resources" where the file cannot be written. */
function saveEncoded(path: string, encoded: EncodedExamples): void {
  const { ids, labels, offsets } = encoded.dataset;
  const arrays = { ids, labels, offsets, kept: encoded.kept };
  const tensors = new Map(NAMES.map((name) => [name, tensor("int32", [arrays[name].length], arrays[name])]));
  writeSafetensors(path, tensors, { report: JSON.stringify(encoded.report) });
}

function damaged(path: string, got: string): FedtuneError {
  return new FedtuneError("data", { where: path, expected: "encoded examples as fedtune writes them", got, remedy: "Delete the file; it is made again" });
}

function readArray(content: SafetensorsContent, name: string, path: string): Int32Array {
  const found: Tensor | undefined = content.tensors.get(name);
  if (found === undefined || !(found.data instanceof Int32Array) || found.shape.length !== 1) throw damaged(path, `no int32 tensor \`${name}\` of one dimension`);
  return found.data;
}

function toShared(values: Int32Array): Int32Array<SharedArrayBuffer> {
  const shared = new Int32Array(new SharedArrayBuffer(values.byteLength));
  shared.set(values);
  return shared;
}

/** Parses the report that stands in the metadata; undefined where it is not one. */
function readReport(text: string | undefined): z.infer<typeof reportSchema> | undefined {
  try {
    return reportSchema.safeParse(JSON.parse(text ?? "")).data;
  } catch {
    return undefined;
  }
}

/** Reads what saveEncoded wrote. Throws FedtuneError "data" or "model" where the file is damaged. */
function loadEncoded(path: string): EncodedExamples {
  const content = readSafetensors(path);
  const [ids, labels, offsets, kept] = [readArray(content, "ids", path), readArray(content, "labels", path), readArray(content, "offsets", path), readArray(content, "kept", path)];
  const report = readReport(content.metadata["report"]);
  if (report === undefined) throw damaged(path, "no report in its metadata");
  const ascending = offsets.every((offset, i) => offset > (i === 0 ? -1 : (offsets[i - 1] ?? 0)));
  if (labels.length !== ids.length || offsets.length !== kept.length + 1 || offsets[0] !== 0 || offsets.at(-1) !== ids.length || !ascending) {
    throw damaged(path, "arrays that contradict each other");
  }
  return { dataset: { ids: toShared(ids), labels: toShared(labels), offsets: toShared(offsets) }, report, kept };
}

/** SHA-256 of everything that the encoded examples follow from: tokenizer, template, limits, field mapping, the files' bytes and what was done to their rows. */
export function encodedKey(source: Pick<LoadedExamples, "files" | "fields" | "recipe">, options: Pick<EncodeOptions, "tokenizer" | "template" | "settings">): string {
  const { max_tokens, overflow } = options.settings;
  const hashes = source.files.map((file) => file.sha256);
  return sha256(canonicalJson([VERSION, options.tokenizer.identity, options.template.identity, options.template.bos, max_tokens, overflow, source.fields, hashes, ...(source.recipe === undefined ? [] : [source.recipe])]));
}

/**
 * Encoded examples of a data set: from `folder` where they were encoded before, else encoded now and kept there.
 * A damaged file is made again. Errors as encodeExamples; FedtuneError "resources" where the folder cannot be written.
 */
export async function encodeCached(source: LoadedExamples, options: EncodeOptions & { readonly folder: string }): Promise<EncodedExamples> {
  const path = join(options.folder, `${encodedKey(source, options)}.safetensors`);
  if (existsSync(path)) {
    try {
      return loadEncoded(path);
    } catch (error) {
      // Whatever is wrong with a file of the cache, the examples can be encoded again.
      if (!(error instanceof FedtuneError)) throw error;
    }
  }
  const encoded = await encodeExamples(source.examples, options);
  ensureWritableFolder(options.folder);
  saveEncoded(path, encoded);
  return encoded;
}
