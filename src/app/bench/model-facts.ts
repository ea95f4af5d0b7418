/** The sizes of a model that a benchmark needs before it opens it. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { FedtuneError, messageOf } from "../../core/index.ts";

const facts = z.looseObject({ vocab_size: z.int().positive(), hidden_size: z.int().positive() });

/** Reads them from config.json. Throws FedtuneError("model") where it is not there. */
export function readModelFacts(folder: string): { readonly vocabSize: number; readonly hiddenSize: number } {
  const path = join(folder, "config.json");
  try {
    const { vocab_size, hidden_size } = facts.parse(JSON.parse(readFileSync(path, "utf8")));
    return { vocabSize: vocab_size, hiddenSize: hidden_size };
  } catch (cause) {
    throw new FedtuneError("model", { where: path, expected: "a model's config.json, or the name of a shape as --model", got: messageOf(cause), cause });
  }
}
