/** The part of the config that adapters own, with PEFT's names and meaning: the union of all methods' settings. */
import { z } from "zod";
import { ADAPTER_METHODS } from "./all.ts";
import type { AdapterSettings } from "./all.ts";

const schemas = Object.values(ADAPTER_METHODS).map((method) => method.schema);

// The union is built from the record, so TypeScript sees a list; the record's own types say what it parses to.
export const adapterSchema = z.discriminatedUnion("method", schemas as unknown as [z.ZodObject]) as unknown as z.ZodType<AdapterSettings, { readonly [field: string]: unknown }>;
export type { AdapterSettings } from "./all.ts";
