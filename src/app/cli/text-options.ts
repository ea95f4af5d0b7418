/** The options that `generate` and `chat` share. */
import { z } from "zod";
import { numeric, text } from "./command.ts";
import type { OptionSpec } from "./command.ts";
import type { GenerateTextOptions } from "../../index.ts";

type TextOptions = Omit<GenerateTextOptions, "prompt">;

/** Options of both commands, with the defaults of `temperature`. */
export function textOptions(temperature: number) {
  return {
    model: { flags: "--model <model>", description: "folder of a Hugging Face model, or its id on the Hub", schema: z.string("expected a model folder or a Hub id").min(1) },
    revision: { flags: "--revision <name>", description: "branch, tag or commit of a model on the Hub", schema: text },
    adapter: { flags: "--adapter <folder>", description: "PEFT adapter, such as runs/…/adapter", schema: text },
    maxNewTokens: { flags: "--max-new-tokens <n>", description: "longest answer in tokens (default: 200)", schema: numeric(200, { min: 1, integer: true }) },
    temperature: { flags: "--temperature <t>", description: `0 takes the likeliest token each time (default: ${temperature})`, schema: numeric(temperature, { min: 0, max: 100 }) },
    topK: { flags: "--top-k <k>", description: "draw from the k likeliest tokens only; 0 for all (default: 0)", schema: numeric(0, { min: 0, integer: true }) },
    topP: { flags: "--top-p <p>", description: "draw from the likeliest tokens that together have this probability (default: 1)", schema: numeric(1, { min: 0, max: 1 }) },
    stop: { flags: "--stop <text...>", description: "texts that end the answer", schema: z.array(z.string().min(1)).default([]) },
    seed: { flags: "--seed <n>", description: "seed of the random draw (default: 1)", schema: numeric(1, { min: 0, max: 2 ** 32 - 1, integer: true }) },
  } as const satisfies Record<string, OptionSpec>;
}

/** Option values as the API takes them: what was not given is absent. */
export function toTextOptions(options: Omit<TextOptions, "revision" | "adapter"> & { readonly revision: string | undefined; readonly adapter: string | undefined }): TextOptions {
  const { model, revision, adapter, maxNewTokens, temperature, topK, topP, stop, seed } = options;
  return { model, ...(revision !== undefined && { revision }), ...(adapter !== undefined && { adapter }), maxNewTokens, temperature, topK, topP, stop, seed };
}
