/** Plain text: learnt whole, or instruction, input and output on lines of their own with only the output learnt. */
import { FedtuneError } from "../../../core/base/errors.ts";
import { placeOf } from "../examples.ts";
import type { PromptTemplate } from "./template.ts";

export const plain: PromptTemplate = {
  identity: "plain",
  bos: "always",
  render(example) {
    if (example.kind === "text") return { pieces: [{ text: example.text, learn: true }], appendEos: true };
    if (example.kind === "conversation") {
      throw new FedtuneError("data", { where: placeOf(example), expected: "text or instructions for the template plain", got: "conversations", remedy: "Set data.template to chat" });
    }
    const prompt = example.input === undefined ? example.instruction : `${example.instruction}\n${example.input}`;
    return { pieces: [{ text: `${prompt}\n`, learn: false }, { text: example.output, learn: true }], appendEos: true };
  },
};
