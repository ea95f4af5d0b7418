/** Which linear modules of a rounded base stay float32: those that a setting names, or those that are measured to need it. */
import { readFileSync, writeFileSync } from "node:fs";
import { z } from "zod";
import { didYouMean, FedtuneError } from "../../core/base/errors.ts";
import { canonicalJson } from "../../core/base/hash.ts";
import { cachedFile } from "../../core/store/cache.ts";
import type { ArchitectureModel } from "../architectures/architecture.ts";
import { prepareBase } from "../architectures/prepared-base.ts";
import { byteDType, type HeldPrecision } from "../architectures/quantized-weights.ts";
import type { LinearModule } from "../architectures/sites.ts";
import { loadTokenizer } from "../text/tokenizer.ts";
import { measureRowRounding, type RowRounding } from "./row-rounding.ts";
import type { RuntimeSettings } from "./settings.ts";

/** A model's folder and what its config says. */
export interface OpenedFolder {
  readonly folder: string;
  readonly model: ArchitectureModel;
}

/**
 * What is measured by: the same for every experiment and command, so that one model has one base. Each text is put behind the token
 * that begins one where the tokenizer has it: there many models have their largest activations (Sun et al. 2024, "Massive Activations").
 */
const TEXTS = [
  "Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n### Instruction:\nName three colours.\n\n### Response:\nRed, green and blue.",
  "To be, or not to be, that is the question:\nWhether 'tis nobler in the mind to suffer\nThe slings and arrows of outrageous fortune,\nOr to take arms against a sea of troubles",
  "The first three astronauts flew to the Moon in 1969; two of them walked on it. How many stayed behind? 3 - 2 = 1.",
] as const;

/** Raised when what is measured, or how, changes. */
const MEASURE_VERSION = 2;

/** A module stays float32 where rounding its rows costs more than so many times what it costs in the median module (LOG.md). */
const STANDS_OUT = 30;

/** Paths of the modules whose rows cost most, by `STANDS_OUT`. */
export function standingOut(measured: readonly RowRounding[]): readonly string[] {
  const sorted = measured.map(({ variance }) => variance).toSorted((a, b) => a - b);
  const median = sorted[Math.floor(sorted.length / 2)] ?? 0;
  return measured.filter(({ variance }) => variance > STANDS_OUT * median).flatMap(({ paths }) => paths);
}

/** Token ids of the texts. */
function probe(folder: string): readonly Int32Array[] {
  const tokenizer = loadTokenizer(folder);
  const begin = tokenizer.bosId === undefined ? [] : [tokenizer.bosId];
  return TEXTS.map((text) => Int32Array.from([...begin, ...tokenizer.encode(text, { addSpecialTokens: false })]));
}

/** Modules that stand out under 8 bits, measured once for a checkpoint and then remembered. */
async function measured({ folder, model }: OpenedFolder, precision: HeldPrecision): Promise<readonly string[]> {
  const texts = probe(folder);
  const base = await prepareBase(folder, model, { precision });
  const key = canonicalJson({ MEASURE_VERSION, checkpoint: base.checkpointHash, precision, texts: texts.map((ids) => [...ids]) });
  const path = await cachedFile(key, async (temporary) => writeFileSync(temporary, JSON.stringify(standingOut(await measureRowRounding(base, model, texts)))), { extension: ".float32-modules.json" });
  return z.array(z.string()).parse(JSON.parse(readFileSync(path, "utf8")));
}

/** Modules that names mean: paths or ends of them. Throws FedtuneError("config") for one that means none. */
function named(names: readonly string[], linears: readonly LinearModule[]): readonly string[] {
  const paths = linears.filter(({ isHead }) => !isHead).map(({ path }) => path);
  const ends = [...new Set(paths.map((path) => path.split(".").at(-1) ?? path))];
  const means = (name: string, path: string): boolean => path === name || path.endsWith(`.${name}`);
  for (const name of names) {
    if (paths.some((path) => means(name, path))) continue;
    throw new FedtuneError("config", { where: "runtime.float32_modules", expected: `auto, or linear modules that the model has (${ends.join(", ")})`, got: `\`${name}\`, which matches none`, remedy: didYouMean(name, [...ends, ...paths]) });
  }
  return paths.filter((path) => names.some((name) => means(name, path)));
}

/** A list of modules with those that share a tensor of the prepared base with one of them: a tensor is rounded whole or not at all. */
function withJoined(paths: readonly string[], { tensors, linears }: Pick<ArchitectureModel, "tensors" | "linears">): readonly string[] {
  const weights = new Set(linears.filter(({ path }) => paths.includes(path)).map(({ weight }) => weight));
  const whole = new Set(tensors.filter(({ parts }) => parts.some(({ name }) => weights.has(name))).flatMap(({ parts }) => parts.map(({ name }) => name)));
  return linears.filter(({ weight, isHead }) => !isHead && whole.has(weight)).map(({ path }) => path);
}

/**
 * Paths of the linear modules that a base of this precision holds in float32, in the model's order; none for a float32 base.
 * @throws FedtuneError("config") where a name means no module, whatever the precision
 */
export async function chooseFloat32Modules(setting: RuntimeSettings["float32_modules"], precision: HeldPrecision, opened: OpenedFolder): Promise<readonly string[]> {
  const { model } = opened;
  if (setting !== "auto") {
    const paths = named(setting, model.linears);
    return precision === "float32" ? [] : withJoined(paths, model);
  }
  return byteDType(precision) === undefined ? [] : withJoined(await measured(opened, precision), model);
}
