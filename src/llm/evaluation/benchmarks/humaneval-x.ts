/** HumanEval-X (Zheng et al. 2023): HumanEval's problems in six languages, each compiled and run against its tests. */
import { z } from "zod";
import { FedtuneError } from "../../../core/base/errors.ts";
import type { Benchmark, BenchmarkContext, Question } from "../benchmark.ts";
import { AT_ONCE, judgeAnswers, openEnclosure } from "../code/code-judge.ts";
import { DIALECTS } from "../code/dialects/all.ts";
import { languageLine, problemSchema, withoutHardSpaces, type Dialect } from "../code/dialects/dialect.ts";
import { passFigure } from "../code/pass-at-k.ts";
import { codeFields, writingOf } from "../code/settings.ts";
import { LANGUAGE_NAMES, TOOLCHAINS, type LanguageName } from "../code/toolchains/all.ts";
import type { Installed } from "../code/toolchains/toolchain.ts";
import { findDataFile, readRows } from "../data-files.ts";
import { parseRow } from "../fields.ts";
import { byGroup } from "../statistics.ts";

/** The reference leaves out Rust. */
const REFERENCE_LANGUAGES = LANGUAGE_NAMES.filter((name) => name !== "rust");

const { path: _path, ...fields } = codeFields;
const schema = z.strictObject({
  ...fields,
  folder: z.string().min(1).optional().describe("a folder of your own with humaneval_LANGUAGE.jsonl in place of the benchmark's"),
  languages: z.array(z.enum(LANGUAGE_NAMES)).min(1).optional().describe("only these languages (left out: all; without rust under compat: fsllm)"),
  fetch: z.boolean().default(false).describe("let cargo download the crates that Rust's programs may use, once; without them stand-ins serve and programs that use regex are left out"),
});
type Settings = z.infer<typeof schema>;

/** What one language is asked and judged with. */
interface Opened {
  readonly language: LanguageName;
  readonly toolchain: Installed;
}

/** The toolchains that are here, and a line for each that is not. */
async function findToolchains({ languages, fetch }: { readonly languages: readonly LanguageName[]; readonly fetch: boolean }, { signal }: BenchmarkContext): Promise<{ readonly found: readonly Opened[]; readonly missing: readonly string[] }> {
  const found: Opened[] = [];
  const missing: string[] = [];
  for (const language of languages) {
    const toolchain = await TOOLCHAINS[language].find({ fetch, ...(signal && { signal }) });
    if ("missing" in toolchain) missing.push(`${TOOLCHAINS[language].title} was not asked: ${toolchain.missing}`);
    else found.push({ language, toolchain });
  }
  if (found.length === 0) throw new FedtuneError("resources", { where: "humaneval-x", expected: `a toolchain for ${languages.join(" or ")}`, got: missing.join("; "), remedy: "Install one, or choose another of humaneval-x.languages" });
  return { found, missing };
}

function fileOf(language: LanguageName): string {
  return `humaneval_${language}.jsonl`;
}

async function questionsOf({ language, toolchain }: Opened, { settings, context, enclosure }: { readonly settings: Settings; readonly context: BenchmarkContext; readonly enclosure: Awaited<ReturnType<typeof openEnclosure>>["enclosure"] }): Promise<readonly Question[]> {
  const own = settings.folder === undefined ? undefined : `${settings.folder}/${fileOf(language)}`;
  const records = await readRows(await findDataFile(own, ["humaneval-x", language], context), context);
  const dialect: Dialect = DIALECTS[language];
  const { samples, sampling } = writingOf("humaneval-x", settings);
  const faithful = settings.compat === "fsllm";
  return records.map((record): Question => {
    const problem = parseRow(record, problemSchema);
    return {
      kind: "written", id: problem.task_id, facts: { language }, samples,
      prompt: { header: "", shots: [], own: `${languageLine(dialect, TOOLCHAINS[language].title)}${dialect.prompt(problem)}`, overflow: "error" },
      sampling: { ...sampling, stop: faithful ? [] : dialect.stop },
      judge: (answers, { signal }) =>
        judgeAnswers(answers, { toolchain, enclosure, settings, cut: (answer) => (faithful ? dialect.cutAsReference(withoutHardSpaces(answer)) : dialect.cut(answer, problem)), assemble: (solution, proof) => dialect.assemble(problem, solution, proof) }, signal),
    };
  });
}

export const humanevalX: Benchmark<Settings> = {
  summary: "HumanEval's functions in Python, JavaScript, Java, Go, C++ and Rust: compiled and run against their tests",
  schema,
  async open(settings, context) {
    const { samples } = writingOf("humaneval-x", settings);
    const { enclosure, notes } = await openEnclosure(settings);
    const languages = settings.languages ?? (settings.compat === "fsllm" ? REFERENCE_LANGUAGES : LANGUAGE_NAMES);
    const { found, missing } = await findToolchains({ languages, fetch: settings.fetch }, context);
    const questions: Question[] = [];
    for (const opened of found) questions.push(...(await questionsOf(opened, { settings, context, enclosure })));
    return {
      questions, judgesAtOnce: AT_ONCE,
      notes: () => [...notes, ...missing, ...found.flatMap(({ toolchain }) => [toolchain.version, ...toolchain.notes])],
      figures: (judged) => [
        ...settings.k.map((k) => passFigure(judged, { k, samples })),
        ...settings.k.flatMap((k) => byGroup(judged, { kind: "language", fact: "language" }, (part, group) => passFigure(part, { k, samples, group }))),
      ],
    };
  },
};
