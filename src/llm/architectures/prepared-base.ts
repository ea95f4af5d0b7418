/**
 * The prepared base: one cache file per checkpoint, layout and precision, made once chunk by chunk and then mapped by
 * every session and process. Checks the checkpoint's shapes against what config.json promises.
 */
import { basename, dirname } from "node:path";
import { z } from "zod";
import { didYouMean, FedtuneError, must } from "../../core/base/errors.ts";
import { canonicalJson, sha256 } from "../../core/base/hash.ts";
import { bytesPerElement, elementCount, formatShape, isHalf, sameShape, type ComputeDType } from "../../core/base/tensor.ts";
import { openCheckpoint } from "../../core/formats/checkpoint.ts";
import type { Checkpoint } from "../../core/formats/checkpoint.ts";
import { readSafetensorsHeader } from "../../core/formats/safetensors.ts";
import type { TensorDeclaration } from "../../core/formats/safetensors-header.ts";
import { createSafetensorsWriter } from "../../core/formats/safetensors-writer.ts";
import { cachedFile } from "../../core/store/cache.ts";
import { hashFile } from "../../core/store/file-hash.ts";
import { createNarrower, mapCheckpoint } from "./half-base.ts";
import { byteDType, declareHead, declareRounded, isCoarse, isUneven, roundedBase, writeHead, writeRounded, type HeldPrecision, type RoundedBase } from "./quantized-weights.ts";
import type { WeightFiles } from "../../engine/graph/weights.ts";
import { checkpointName, type ArchitectureModel, type CheckpointNaming } from "./architecture.ts";
import { createRowReader } from "./base-rows.ts";
import type { BaseTensor } from "./sites.ts";

/** Mapped files start their data on a page. */
const PAGE_BYTES = 4096;
/** Raised when the layout of the file changes. */
const LAYOUT_VERSION = 11;
/** Metadata of the file: names of tensors that are uneven, and the head's where it is coarse (quantized-weights.ts), as JSON. */
const UNEVEN = "uneven";

/** A base that is ready to be mapped. */
export interface PreparedBase {
  readonly weights: WeightFiles;
  /** Which tensors are held rounded; undefined: none. */
  readonly rounded: RoundedBase | undefined;
  /** Whether weights that a product may join lie apart: the checkpoint's own files are mapped. */
  readonly apart: boolean;
  /** SHA-256 over the checkpoint's files: equal checkpoints have equal hashes. */
  readonly checkpointHash: string;
  /** Number of parameters of the checkpoint's tensors that the model uses. */
  readonly parameters: number;
}

/** SHA-256 over the bytes of a checkpoint's files in their order; files that have not changed are not read again. */
export async function hashCheckpoint(checkpoint: Checkpoint): Promise<string> {
  const hashes: string[] = [];
  for (const { path } of checkpoint.files) hashes.push(await hashFile(path));
  return sha256(hashes.join(" "));
}

/** Throws FedtuneError("model") where a tensor is missing or its shape contradicts config.json. */
export function checkShapes(checkpoint: Checkpoint, model: ArchitectureModel): void {
  const wanted = new Set(model.tensors.flatMap(({ parts }) => parts.map(({ name }) => name)));
  for (const { parts, shape } of model.tensors) {
    for (const { name: full, rows } of parts) {
      const name = checkpointName(checkpoint, model, full);
      if (!checkpoint.has(name)) {
        throw new FedtuneError("model", {
          where: checkpoint.folder, expected: `a tensor ${name}, as config.json asks for`, got: "none of that name",
          remedy: didYouMean(name, checkpoint.names.filter((other) => !wanted.has(other))) || "The weights are of another model, or incomplete",
        });
      }
      const expected = shape.with(0, rows);
      const actual = checkpoint.entry(name).shape;
      if (!sameShape(actual, expected)) {
        throw new FedtuneError("model", { where: `${checkpoint.folder}: ${name}`, expected: `shape ${formatShape(expected)}, as config.json says`, got: formatShape(actual), remedy: "config.json and the weights are of different models" });
      }
    }
  }
}

/** One tensor by its name in the model, tied names included, as float32. */
export function readBaseTensor(checkpoint: Checkpoint, model: CheckpointNaming & Pick<ArchitectureModel, "tied">, name: string): Float32Array {
  return checkpoint.readFloat32(checkpointName(checkpoint, model, model.tied.get(name) ?? name)).data;
}

/** How a base is to be held: its linear modules' precision, and the dtype of what is not rounded. */
export interface BaseForm {
  readonly precision?: HeldPrecision;
  /** Paths of linear modules that are not rounded; modules that are joined with one of them are not either. Absent: none. */
  readonly float32Modules?: readonly string[];
  readonly dtype?: ComputeDType;
}

/**
 * Makes the prepared base of a checkpoint, or finds it in the cache, or maps the checkpoint where nothing changes.
 * Memory: a few chunks of rows, however large the checkpoint is.
 */
export async function prepareBase(folder: string, model: ArchitectureModel, { precision = "float32", float32Modules = [], dtype = "float32" }: BaseForm = {}): Promise<PreparedBase> {
  const checkpoint = openCheckpoint(folder);
  checkShapes(checkpoint, model);
  const checkpointHash = await hashCheckpoint(checkpoint);
  // The largest first: then each tensor starts at a multiple of its own size in nearly every model.
  const tensors = [...model.tensors].sort((a, b) => elementCount(b.shape) - elementCount(a.shape));
  const form = roundedBase(model, precision, { float32Modules });
  const parameters = model.tensors.reduce((n, t) => n + elementCount(t.shape), 0);
  const own = form === undefined && isHalf(dtype) ? mapCheckpoint(checkpoint, model, dtype) : undefined;
  if (own !== undefined) return { weights: own, rounded: undefined, apart: true, checkpointHash, parameters };
  const key = sha256(canonicalJson({ LAYOUT_VERSION, checkpointHash, precision, ...(dtype === "float32" ? {} : { dtype }), tensors, rounded: [...(form?.tensors.keys() ?? [])] }));
  const path = await cachedFile(`base/${key}.safetensors`, async (temporaryPath) => {
    const rowsOf = createRowReader(checkpoint, model);
    const uneven = form === undefined || byteDType(precision) === undefined ? [] : [...form.tensors.values()].filter((own) => isUneven(own, rowsOf(own.base))).map(({ base }) => base.name);
    if (form?.head !== undefined && isCoarse(rowsOf(form.head))) uneven.push(`${form.head.name} head`);
    const rounded = roundedBase(model, precision, { float32Modules, uneven });
    const declarations = tensors.flatMap((t): readonly TensorDeclaration[] => {
      const own = rounded?.tensors.get(t.name);
      if (rounded !== undefined && own !== undefined) return declareRounded(rounded.precision, own);
      return [{ name: t.name, dtype, shape: t.shape }, ...(rounded?.head !== undefined && t.name === rounded.head.name ? declareHead(rounded.precision, rounded.head) : [])];
    });
    using writer = createSafetensorsWriter(temporaryPath, declarations, { align: PAGE_BYTES, metadata: { [UNEVEN]: JSON.stringify(uneven) } });
    const inDtype = createNarrower(dtype);
    for (const t of tensors) {
      const rows = rowsOf(t);
      const own = rounded?.tensors.get(t.name);
      if (rounded !== undefined && own !== undefined) writeRounded(rounded.precision, own, { rows, writer });
      else for (const { first, count, values } of rows.chunks()) writer.writeBlock(t.name, { row: first, column: 0, rows: count, columns: rows.columns, data: inDtype(t.name, values) });
      if (rounded?.head !== undefined && t.name === rounded.head.name) writeHead(rounded.precision, rounded.head, { rows, writer });
    }
    writer.finish();
  });
  const rounded = roundedBase(model, precision, { float32Modules, uneven: z.array(z.string()).parse(JSON.parse(readSafetensorsHeader(path).metadata[UNEVEN] ?? "[]")) });
  return { weights: mapSafetensors(path, tensors.filter(({ name }) => rounded?.tensors.has(name) !== true)), rounded, apart: false, checkpointHash, parameters };
}

/** Weights of one safetensors file, to be mapped: tensors whole, and the rows of those that are joined in them by their own names. */
function mapSafetensors(path: string, tensors: readonly BaseTensor[]): WeightFiles {
  const entries = readSafetensorsHeader(path).tensors;
  const parts = new Map(tensors.flatMap(({ name: joined, shape, parts: own }) => {
    const { start: first, dtype } = must(entries.get(joined), joined);
    let end = first;
    return own.map(({ name, rows }): [string, { readonly start: number; readonly end: number }] => {
      const start = end;
      end += bytesPerElement(dtype) * rows * elementCount(shape.slice(1));
      return [name, { start, end }];
    });
  }));
  return {
    folder: dirname(path),
    locate(name) {
      const { start, end } = must(entries.get(name) ?? parts.get(name), `weight ${name} in ${path}`);
      return { file: basename(path), offset: start, length: end - start };
    },
  };
}
