/** `fedtune bench …`: measurements. What is measured and how is the business of `app/bench`; this gives it its place. */
import { FedtuneError } from "../../../core/base/errors.ts";
import { defineCommand } from "../command.ts";

export const bench = defineCommand({
  summary: "measure steps and rounds on this machine",
  arguments: [["[what...]", "step or round, with options of their own"]],
  options: {},
  passThrough: true,
  examples: ["fedtune bench step --model minimind2-small --precision float32 --batch 4 --tokens 256 --json", "fedtune bench round --clients 32 --json"],
  async run({ args }) {
    await Promise.resolve();
    throw new FedtuneError("config", { where: "fedtune bench", expected: "a measurement that this version has", got: args[0] ?? "none" });
  },
});
