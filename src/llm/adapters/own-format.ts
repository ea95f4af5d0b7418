/**
 * The format of methods that PEFT does not have: PEFT's two files, with a `peft_type` that PEFT refuses by name and the
 * method's settings, by fedtune's names, in the field `settings`. docs/adapter-formats.md describes it.
 */
import { z } from "zod";
import type { PeftFormat } from "./adapter.ts";

/** The format of a method by its identifier and the schema of its settings. `peft_type` is FEDTUNE_ and the identifier in capitals. */
export function ownFormat<S extends { readonly method: string }>(method: S["method"], schema: z.ZodType<S, unknown>): PeftFormat<S> {
  const ownFile = z.looseObject({ settings: z.looseObject({}).default({}).transform((given): unknown => ({ ...given, method })).pipe(schema) });
  return {
    type: `FEDTUNE_${method.toUpperCase()}`,
    write: (settings) => ({ settings: Object.fromEntries(Object.entries(settings).filter(([field]) => field !== "method" && field !== "init_from")) }),
    read(fields) {
      const { settings }: { readonly settings: S } = fields.parse(ownFile);
      fields.refuseOthers({}, []);
      fields.refuseUnknown(["settings"]);
      return settings;
    },
  };
}
