/** A template module of the user's own: its default export turns an example into pieces of text. */
import { z } from "zod";
import { FedtuneError, messageOf } from "../../../core/base/errors.ts";
import type { TextPiece } from "../../text/conversation.ts";
import { placeOf, type Example } from "../examples.ts";
import { importFunction } from "../user-module.ts";
import type { PromptTemplate } from "./template.ts";

/** What the default export of a template module is. The end token is appended and learnt; the bos goes first. */
export type TemplateFunction = (example: Example) => readonly TextPiece[];

const piecesSchema = z.array(z.object({ text: z.string(), learn: z.boolean() })).min(1);

/** Loads a template module; `path` is relative to `baseFolder`. Throws FedtuneError "config" where it is not one. */
export async function loadOwnTemplate(path: string, baseFolder: string): Promise<PromptTemplate> {
  const { call, sha256 } = await importFunction(path, baseFolder);
  return {
    identity: `module:${sha256}`,
    bos: "always",
    render(example) {
      let value: unknown;
      try {
        // What the module really returns is checked below.
        value = (call as TemplateFunction)(example);
      } catch (cause) {
        throw new FedtuneError("data", { where: placeOf(example), expected: `pieces of text from ${path}`, got: `an error: ${messageOf(cause)}`, cause });
      }
      const pieces = piecesSchema.safeParse(value);
      if (pieces.success) return { pieces: pieces.data, appendEos: true };
      throw new FedtuneError("config", { where: path, expected: "a list of {text, learn}", got: z.prettifyError(pieces.error).replaceAll("\n", " ") });
    },
  };
}
