/** HumanEval (Chen et al. 2021): 164 Python functions by signature and docstring, judged by running their tests. */
import { z } from "zod";
import { FedtuneError } from "../../../core/base/errors.ts";
import type { Benchmark, Question } from "../benchmark.ts";
import { AT_ONCE, judgeAnswers, openEnclosure } from "../code/code-judge.ts";
import { bodyOf, cutAsHumanEvalReference, proofLine, python as dialect } from "../code/dialects/python.ts";
import { passFigure } from "../code/pass-at-k.ts";
import { codeFields, writingOf } from "../code/settings.ts";
import { python } from "../code/toolchains/python.ts";
import { findDataFile, readRows } from "../data-files.ts";
import { parseRow } from "../fields.ts";

const schema = z.strictObject(codeFields);

const text = z.string("expected a text");
const rowSchema = z.object({ task_id: text, prompt: text, canonical_solution: text, test: text, entry_point: text });

/** The program of a solution: its tests, and the call that starts them. */
export function assembleHumanEval({ prompt, test, entry_point: name }: Pick<z.infer<typeof rowSchema>, "prompt" | "test" | "entry_point">, solution: string, proof: string): string {
  return `${prompt}${solution}\n${test}\ncheck(${name})\n${proofLine(proof)}`;
}

export const humaneval: Benchmark<z.infer<typeof schema>> = {
  summary: "Python functions from their docstrings: run against their tests",
  schema,
  async open(settings, context) {
    const { samples, sampling } = writingOf("humaneval", settings);
    const records = await readRows(await findDataFile(settings.path, ["humaneval", "test"], context), context);
    const { enclosure, notes } = await openEnclosure(settings);
    const toolchain = await python.find({ ...(context.signal && { signal: context.signal }) });
    if ("missing" in toolchain) throw new FedtuneError("resources", { where: "humaneval", expected: "Python to run the tests with", got: toolchain.missing, remedy: "Install Python 3" });
    const faithful = settings.compat === "fsllm";
    const questions = records.map((record): Question => {
      const row = parseRow(record, rowSchema);
      return {
        kind: "written", id: row.task_id, facts: { entry_point: row.entry_point }, samples,
        prompt: { header: "", shots: [], own: row.prompt, overflow: "error" },
        // The reference lets the model write on and cuts afterwards.
        sampling: { ...sampling, stop: faithful ? [] : dialect.stop },
        judge: (answers, { signal }) =>
          judgeAnswers(answers, { toolchain, enclosure, settings, cut: faithful ? cutAsHumanEvalReference : bodyOf, assemble: (solution, proof) => assembleHumanEval(row, solution, proof) }, signal),
      };
    });
    return {
      questions, judgesAtOnce: AT_ONCE, notes: () => [...notes, toolchain.version, ...toolchain.notes],
      figures: (judged) => settings.k.map((k) => passFigure(judged, { k, samples })),
    };
  },
};
