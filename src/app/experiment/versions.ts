/** Which software and machine a run is made with, for its record. */
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { cpus, totalmem } from "node:os";
import { dirname, join } from "node:path";
import { z } from "zod";

const manifestSchema = z.object({ version: z.string() });

/** Versions of fedtune, Node and the libraries that decide about numbers. */
export function versions(): Readonly<Record<string, string>> {
  const require = createRequire(import.meta.url);
  const library = (name: string): string => versionIn(dirname(require.resolve(name)), name);
  return { fedtune: versionIn(import.meta.dirname, "fedtune"), node: process.versions.node, "onnxruntime-node": library("onnxruntime-node"), "@huggingface/tokenizers": library("@huggingface/tokenizers") };
}

/** Processor, cores and memory, in words. */
export function machine(): string {
  const cores = cpus();
  return `${cores[0]?.model.trim() ?? process.arch}, ${cores.length} cores, ${Math.round(totalmem() / 2 ** 30)} GiB`;
}

/** The version in the package.json of `name`, from a folder inside that package upwards. */
function versionIn(folder: string, name: string): string {
  for (let at = folder; at !== dirname(at); at = dirname(at)) {
    try {
      const parsed = z.object({ name: z.literal(name) }).and(manifestSchema).safeParse(JSON.parse(readFileSync(join(at, "package.json"), "utf8")));
      if (parsed.success) return parsed.data.version;
    } catch {
      // No package.json in this folder: look one up.
    }
  }
  return "unknown";
}
