/** HumanEval and HumanEval-X by their own data: canonical answers pass, broken ones do not, in every language that is installed. */
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { resolve } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { must } from "../../../core/base/errors.ts";
import type { BenchmarkContext, Judgement, OpenedBenchmark, WrittenAnswer, WrittenQuestion } from "../benchmark.ts";
import { LANGUAGE_NAMES, TOOLCHAINS, type LanguageName } from "../code/toolchains/all.ts";
import { onPath } from "../code/toolchains/toolchain.ts";
import { enclosingHere } from "../code/walls.ts";
import { readRows } from "../data-files.ts";
import { humaneval } from "./humaneval.ts";
import { humanevalX } from "./humaneval-x.ts";

const DATA = resolve("../shared/data");
const here = existsSync(DATA) && (await enclosingHere()).missing.length === 0;
/** Commands that tell a toolchain's version, where there is one that works. */
const COMMANDS: Readonly<Record<LanguageName, readonly [string, string]>> = { python: ["python3", "--version"], js: ["node", "--version"], java: ["javac", "-version"], go: ["go", "version"], cpp: ["g++", "--version"], rust: ["rustc", "--version"] };
const signal = new AbortController().signal;
const context: BenchmarkContext = {
  // The benchmarks of code ask it nothing.
  tokenizer: {} as BenchmarkContext["tokenizer"],
  contextTokens: 2048, baseFolder: ".", seed: 0,
};

let data: string | undefined;
beforeEach(() => {
  data = process.env["FEDTUNE_DATA"];
  process.env["FEDTUNE_DATA"] = DATA;
});
afterEach(() => {
  if (data === undefined) delete process.env["FEDTUNE_DATA"];
  else process.env["FEDTUNE_DATA"] = data;
});

function openX(settings: Record<string, unknown>): Promise<OpenedBenchmark> {
  return humanevalX.open(humanevalX.schema.parse(settings), context);
}

function answers(...texts: readonly string[]): WrittenAnswer[] {
  return texts.map((text) => ({ text, newTokens: 7, endedBy: "stop" }));
}

function written(opened: OpenedBenchmark, place: number): WrittenQuestion {
  const question = must(opened.questions[place], "question");
  if (question.kind !== "written") throw new Error("not a written question");
  return question;
}

async function canonical(file: string, place: number): Promise<string> {
  const row = must((await readRows(`${DATA}/${file}`, context))[place], "row");
  return String(row.fields["canonical_solution"]);
}

function outcomes({ parsed }: Judgement): unknown[] {
  return (parsed as { readonly outcome: string }[]).map(({ outcome }) => outcome);
}

describe.skipIf(!here)("with the data beside the project and all walls (skipped where either is absent)", () => {
  describe.each(LANGUAGE_NAMES)("%s", (language) => {
    const [command, version] = COMMANDS[language];
    const missing = spawnSync(command, [version]).status !== 0;

    test.skipIf(missing)(`a canonical solution passes; a broken one and one that leaves early fail${missing ? `: skipped, \`${command}\` is not installed or does not work` : ""}`, async () => {
      const opened = await openX({ languages: [language], samples: 4, temperature: 0.5, k: [1, 2] });
      const question = written(opened, 53); // add(x, y)
      expect(question.prompt.own).toMatch(/^(\/\/|#) language: \w/);
      const right = await canonical(`humaneval-x/humaneval_${language}.jsonl`, 53);
      const wrong = right.replace(/x ?\+ ?y/, "x - y");
      expect(wrong).not.toBe(right);
      const exit = { python: "    import os\n    os._exit(0)\n", js: "process.exit(0); }\n", java: "System.exit(0); return 0; } }\n", go: "    os.Exit(0)\n    return 0\n}\n", cpp: "exit(0); }\n", rust: "std::process::exit(0) }\n" }[language];
      const judgement = await question.judge(answers(right, wrong, right, exit), { signal });
      expect(outcomes(judgement)).toEqual(["passed", "failed", "passed", "failed"]);
      expect(judgement.scores).toEqual({ "pass@1": expect.closeTo(2 / 4, 12), "pass@2": expect.closeTo(1 - 1 / 6, 12) });
    }, 300_000);

    test.skipIf(missing)("string_to_md5, which needs a library, passes", async () => {
      const opened = await openX({ languages: [language] });
      const judgement = await written(opened, 162).judge(answers(await canonical(`humaneval-x/humaneval_${language}.jsonl`, 162)), { signal });
      expect(judgement).toEqual({ parsed: [{ outcome: "passed" }], scores: { "pass@1": 1 } });
    }, 300_000);
  });

  test.skipIf(onPath("python3") === undefined)("HumanEval's canonical solution passes, and a body that loops does not hold up the next", async () => {
    const opened = await humaneval.open(humaneval.schema.parse({ timeout_seconds: 1 }), context);
    expect(opened.questions).toHaveLength(164);
    const question = written(opened, 0);
    expect(question.id).toBe("HumanEval/0");
    expect(outcomes(await question.judge(answers("    while True:\n        pass\n"), { signal }))).toEqual(["timed-out"]);
    expect(outcomes(await question.judge(answers(await canonical("humaneval/HumanEval.jsonl", 0)), { signal }))).toEqual(["passed"]);
  }, 60_000);

  test("a toolchain that is not installed is named and skipped; where none is, that is an error", async () => {
    const path = process.env["PATH"];
    process.env["PATH"] = "/nowhere";
    try {
      await expect(openX({ languages: ["java", "rust"] })).rejects.toThrow("expected a toolchain for java or rust, got Java was not asked: `javac` is not on the PATH; Rust was not asked: `rustc` is not on the PATH");
    } finally {
      process.env["PATH"] = path;
    }
  });

  test.skipIf(onPath("node") === undefined)("a missing toolchain beside one that is there leaves its questions out and says so", async () => {
    const path = process.env["PATH"];
    process.env["PATH"] = must(onPath("node"), "node").replace(/\/node$/, "");
    const named = onPath("rustc") === undefined;
    try {
      const opened = await openX({ languages: ["js", "rust"] });
      const languages = new Set(opened.questions.map(({ facts }) => facts["language"]));
      expect([...languages]).toEqual(named ? ["js"] : ["js", "rust"]);
      if (named) expect(opened.notes?.()).toContain("Rust was not asked: `rustc` is not on the PATH");
    } finally {
      process.env["PATH"] = path;
    }
  });

  test("the reference's protocol draws five answers of 128 tokens, lets them run on, and leaves out Rust", async () => {
    const opened = await humaneval.open(humaneval.schema.parse({ compat: "fsllm" }), context);
    const { samples, sampling } = written(opened, 0);
    expect({ samples, ...sampling }).toEqual({ samples: 5, maxNewTokens: 128, temperature: 0.1, topK: 40, topP: 0.75, stop: [] });
    expect(Object.keys(TOOLCHAINS)).toContain("rust");
  });

  test.skipIf(onPath("python3") === undefined)("the reference's protocol drops non-breaking spaces, which are no Python", async () => {
    for (const [benchmark, file] of [[humaneval, "humaneval/HumanEval.jsonl"], [humanevalX, "humaneval-x/humaneval_python.jsonl"]] as const) {
      const languages = benchmark === humanevalX ? { languages: ["python"] } : {};
      const hard = answers((await canonical(file, 0)).replace("for ", "for\u00a0 "));
      const judged = async (compat: string): Promise<unknown[]> => outcomes(await written(await benchmark.open(benchmark.schema.parse({ ...languages, compat }) as never, context), 0).judge(hard, { signal }));
      expect([await judged("fsllm"), await judged("none")]).toEqual([["passed"], ["failed"]]);
    }
  }, 60_000);

  test("figures are given over all and for each language", async () => {
    const opened = await openX({ languages: ["python"] });
    const judged = opened.questions.slice(0, 4).map(({ id, facts }, i) => ({ id, facts, judgement: { parsed: null, scores: { "pass@1": i === 0 ? 1 : 0 } } }));
    expect(opened.figures(judged)).toMatchObject([{ name: "pass@1", value: 0.25, interval: "wilson", questions: 4 }, { name: "pass@1", value: 0.25, group: { kind: "language", name: "python" } }]);
  });
});

test("a k above the samples, and samples that would all be the same, are named", async () => {
  await expect(openX({ k: [1, 10] })).rejects.toThrow("humaneval-x.k: expected numbers up to humaneval-x.samples, which is 1, got 10. Set humaneval-x.samples=10.");
  await expect(openX({ k: [1, 10], samples: 10 })).rejects.toThrow("humaneval-x.temperature: expected above 0, as 10 answers are drawn, got 0.");
});
