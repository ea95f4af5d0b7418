/**
 * A template of one's own: an example becomes pieces of text, and `learn` says which of them the loss is computed on. The end
 * token is appended and learnt.
 *
 *   data: { template: own/dialogue.ts }
 */
import type { TemplateFunction } from "fedtune";

const template: TemplateFunction = (example) => {
  if (example.kind !== "instruction") throw new Error("this template needs a question and an answer");
  return [
    { text: `Pupil: ${example.instruction}\nTeacher: `, learn: false },
    { text: example.output, learn: true },
  ];
};
export default template;
