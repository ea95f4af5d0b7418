/** Adapters on disk: `adapter_config.json` and `adapter_model.safetensors` as PEFT writes them, and an encoder beside them. */
import { existsSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { didYouMean, FedtuneError, messageOf } from "../../core/base/errors.ts";
import { formatShape, sameShape, tensor } from "../../core/base/tensor.ts";
import type { NamedTensors, Tensor } from "../../core/base/tensor.ts";
import { bfloat16ToFloat32, float16ToFloat32 } from "../../core/formats/half.ts";
import { readSafetensors } from "../../core/formats/safetensors.ts";
import { writeSafetensors } from "../../core/formats/safetensors-writer.ts";
import { ensureWritableFolder, writeFileAtomic } from "../../core/store/files.ts";
import type { ArchitectureModel } from "../architectures/architecture.ts";
import type { BoundAdapter, ParameterSpec } from "./adapter.ts";
import { ADAPTER_METHODS, bindAdapter, methodOf } from "./all.ts";
import type { AdapterSettings } from "./all.ts";
import { PeftFields, SHARED_FIELDS } from "./peft-config.ts";

const CONFIG_FILE = "adapter_config.json";
const TENSORS_FILE = "adapter_model.safetensors";
/** What trains in place of the adapter's tensors, kept so that training can go on; PEFT does not read it. */
const ENCODER_FILE = "encoder.safetensors";

/** An adapter's tensors as they lie in its folder. */
export interface AdapterFolderTensors {
  readonly parameters: NamedTensors<"float32">;
  /** Frozen tensors; of those that are not saved, what a reader does not find and a writer may need to convert the others. */
  readonly frozen: NamedTensors<"float32">;
  readonly encoder?: NamedTensors<"float32">;
}

export interface WrittenAdapter extends AdapterFolderTensors {
  readonly settings: AdapterSettings;
  readonly model: ArchitectureModel;
  /** Name of the base model. */
  readonly baseModel: string;
}

/** Writes an adapter folder that PEFT loads. Throws FedtuneError("resources") where it cannot be written. */
export function writeAdapterFolder(folder: string, { settings, model, baseModel, parameters, frozen, encoder }: WrittenAdapter): void {
  const { peft } = methodOf(settings);
  const { settings: shown, tensors: written } = peft.convert?.(settings, parameters, frozen) ?? { settings, tensors: new Map([...parameters, ...frozen]) };
  const unsaved = new Set(bindAdapter(settings, model).frozen.flatMap(({ name, saved }) => (saved ? [] : [name])));
  const tensors = new Map([...written].filter(([name]) => !unsaved.has(name)));
  const fields = { ...SHARED_FIELDS, ...peft.write(shown, model, baseModel), base_model_name_or_path: baseModel, peft_type: peft.type, task_type: "CAUSAL_LM" };
  const sorted = Object.fromEntries(Object.entries(fields).sort(([a], [b]) => (a < b ? -1 : 1)));
  ensureWritableFolder(folder);
  writeSafetensors(join(folder, TENSORS_FILE), tensors, { format: "pt" });
  // One that an earlier adapter left in the folder does not belong to this one.
  if (encoder === undefined) rmSync(join(folder, ENCODER_FILE), { force: true });
  else writeSafetensors(join(folder, ENCODER_FILE), encoder, { format: "pt" });
  writeFileAtomic(join(folder, CONFIG_FILE), `${JSON.stringify(sorted, null, 2)}\n`);
}

/** The settings of an adapter folder. Throws FedtuneError("model") that names a field fedtune cannot honour. */
export function readAdapterSettings(folder: string): AdapterSettings {
  const path = join(folder, CONFIG_FILE);
  const remedy = "Give the folder of an adapter that PEFT or fedtune has written";
  if (!existsSync(path)) throw new FedtuneError("model", { where: folder, expected: `an adapter folder with ${CONFIG_FILE}`, got: "none", remedy });
  let raw: unknown;
  try {
    raw = JSON.parse(readFileSync(path, "utf8"));
  } catch (cause) {
    throw new FedtuneError("model", { where: path, expected: "JSON", got: messageOf(cause), remedy, cause });
  }
  const parsed = z.looseObject({ peft_type: z.string() }).safeParse(raw);
  const types = [...new Set(Object.values(ADAPTER_METHODS).map((m) => m.peft.type))];
  const asked = parsed.data?.peft_type ?? "none";
  const fields = new PeftFields(path, parsed.data ?? {});
  for (const method of Object.values(ADAPTER_METHODS)) {
    const settings: AdapterSettings | undefined = method.peft.type === asked ? method.peft.read(fields) : undefined;
    if (settings !== undefined) return settings;
  }
  throw new FedtuneError("model", { where: `${path}: peft_type`, expected: `a method that fedtune has (${types.join(", ")})`, got: asked, remedy: didYouMean(asked, types) || "This adapter method is not supported" });
}

function widen(t: Tensor, where: string): Float32Array {
  // The dtype tag says which array `data` is; TypeScript does not narrow a generic tensor by it.
  if (t.dtype === "float32") return t.data as Float32Array;
  if (t.dtype === "float16") return float16ToFloat32(t.data as Uint16Array);
  if (t.dtype === "bfloat16") return bfloat16ToFloat32(t.data as Uint16Array);
  throw new FedtuneError("model", { where, expected: "float32, float16 or bfloat16", got: t.dtype });
}

/** The tensors of a file by their specs. Throws FedtuneError("model") that names what is missing, surplus or of another shape. */
function readTensors(path: string, specs: readonly Omit<ParameterSpec, "start">[], ignored: BoundAdapter["baseCopies"]): NamedTensors<"float32"> {
  const { tensors } = readSafetensors(path);
  const remedy = "The adapter belongs to another model or other settings";
  for (const [name, { shape }] of tensors) {
    if (!specs.some((p) => p.name === name) && !ignored.some((p) => p.name === name && sameShape(p.shape, shape))) {
      throw new FedtuneError("model", { where: path, expected: "only tensors that the adapter's settings and this model call for", got: `a surplus tensor ${name}`, remedy });
    }
  }
  return new Map(
    specs.map(({ name, shape }): [string, Tensor<"float32">] => {
      const found = tensors.get(name);
      if (found === undefined) throw new FedtuneError("model", { where: path, expected: `a tensor ${name}`, got: "none of that name", remedy });
      if (!sameShape(found.shape, shape)) throw new FedtuneError("model", { where: `${path}: ${name}`, expected: `shape ${formatShape(shape)}`, got: formatShape(found.shape), remedy });
      return [name, tensor("float32", shape, widen(found, `${path}: ${name}`))];
    }),
  );
}

/** The tensors of an adapter folder, checked against what `adapter` declares. Throws FedtuneError("model") that names what does not fit. */
export function readAdapterTensors(folder: string, adapter: BoundAdapter): AdapterFolderTensors {
  const saved = adapter.frozen.filter((spec) => spec.saved);
  const all = readTensors(join(folder, TENSORS_FILE), [...adapter.parameters, ...saved], adapter.baseCopies);
  const frozen = new Map([...all].filter(([name]) => saved.some((spec) => spec.name === name)));
  const parameters = new Map([...all].filter(([name]) => !frozen.has(name)));
  const encoderPath = join(folder, ENCODER_FILE);
  if (adapter.encoder?.travels !== true || !existsSync(encoderPath)) return { parameters, frozen };
  return { parameters, frozen, encoder: readTensors(encoderPath, adapter.encoder.specs, []) };
}
