/** The Alpaca prompt, bit for bit (Taori et al. 2023), with and without input; the answer follows `### Response:` directly. */
import { FedtuneError } from "../../../core/base/errors.ts";
import { placeOf } from "../examples.ts";
import type { PromptTemplate } from "./template.ts";

const WITH_INPUT =
  "Below is an instruction that describes a task, paired with an input that provides further context. Write a response that appropriately completes the request.\n\n";
const WITHOUT_INPUT = "Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n";

/** The prompt of a task. */
function alpacaPrompt(instruction: string, input?: string): string {
  const context = input === undefined ? "" : `### Input:\n${input}\n\n`;
  return `${input === undefined ? WITHOUT_INPUT : WITH_INPUT}### Instruction:\n${instruction}\n\n${context}### Response:`;
}

export const alpaca: PromptTemplate = {
  identity: "alpaca",
  bos: "always",
  render(example) {
    if (example.kind !== "instruction") {
      throw new FedtuneError("data", {
        where: placeOf(example),
        expected: "rows with an instruction and an output for the template alpaca",
        got: example.kind === "conversation" ? "conversations" : "plain text",
        remedy: `Set data.template to ${example.kind === "conversation" ? "chat" : "plain"}`,
      });
    }
    const prompt = alpacaPrompt(example.instruction, example.input);
    return { pieces: [{ text: prompt, learn: false }, { text: example.output, learn: true }], appendEos: true };
  },
};
