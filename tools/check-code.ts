/**
 * `npm run check:code [-- LANGUAGE…]`: runs the canonical solutions of HumanEval and HumanEval-X, and broken variants of each, as
 * generated code is run, and writes what passed into docs/evaluation-code.md. FEDTUNE_DATA names the folder of the data.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { assembleHumanEval } from "../src/llm/evaluation/benchmarks/humaneval.ts";
import { AT_ONCE, openEnclosure } from "../src/llm/evaluation/code/code-judge.ts";
import { DIALECTS } from "../src/llm/evaluation/code/dialects/all.ts";
import { problemSchema } from "../src/llm/evaluation/code/dialects/dialect.ts";
import { judge, type Verdict } from "../src/llm/evaluation/code/judge.ts";
import { LANGUAGE_NAMES, TOOLCHAINS } from "../src/llm/evaluation/code/toolchains/all.ts";
import { mutants } from "./code/mutants.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
const DOC = join(root, "docs", "evaluation-code.md");
/** Variants of one solution by operators that are tried, before the constants, until its tests catch one. */
const TRIES = 8;
/** Processor time of one program: every canonical solution needs less than 2 s here, and a variant that loops is not waited for. */
const SECONDS = 5;

/** One problem: its canonical solution, and how a solution becomes a program. */
interface Task {
  readonly id: string;
  readonly prompt: string;
  readonly solution: string;
  readonly assemble: (solution: string, proof: string) => string;
}

interface TaskResult {
  readonly id: string;
  readonly canonical: Verdict;
  /** What became of the variants, up to the first that its tests caught. */
  readonly variants: readonly Verdict["outcome"][];
}

const data = process.env["FEDTUNE_DATA"] ?? join(root, "..", "shared", "data");
const names = ["humaneval", ...LANGUAGE_NAMES] as const;
type SetName = (typeof names)[number];

function readLines(file: string): unknown[] {
  return readFileSync(join(data, file), "utf8").trim().split("\n").map((line): unknown => JSON.parse(line));
}

function tasksOf(name: SetName): Task[] {
  if (name === "humaneval") {
    return readLines("humaneval/HumanEval.jsonl").map((row) => {
      const { task_id: id, prompt, canonical_solution: solution, test, entry_point } = row as Record<"task_id" | "prompt" | "canonical_solution" | "test" | "entry_point", string>;
      return { id, prompt, solution, assemble: (own, proof) => assembleHumanEval({ prompt, test, entry_point }, own, proof) };
    });
  }
  return readLines(`humaneval-x/humaneval_${name}.jsonl`).map((row) => {
    const problem = problemSchema.parse(row);
    return { id: problem.task_id, prompt: DIALECTS[name].prompt(problem), solution: problem.canonical_solution, assemble: (own, proof) => DIALECTS[name].assemble(problem, own, proof) };
  });
}

const CAUGHT = new Set<Verdict["outcome"]>(["failed", "timed-out", "memory", "killed", "output"]);

async function check(name: SetName, enclosure: Awaited<ReturnType<typeof openEnclosure>>["enclosure"]): Promise<string[]> {
  const language = name === "humaneval" ? "python" : name;
  const toolchain = await TOOLCHAINS[language].find({ fetch: true });
  if ("missing" in toolchain) return [`| ${name} | skipped: ${toolchain.missing} | | | | |`];
  const tasks = tasksOf(name);
  const results: TaskResult[] = [];
  const queue = tasks.values();
  const started = performance.now();
  let seconds = 0;
  let programs = 0;
  const work = async (): Promise<void> => {
    for (const { id, prompt, solution, assemble } of queue) {
      const run = async (own: string): Promise<Verdict> => {
        const verdict = await judge(toolchain, { solution: own, assemble: (proof) => assemble(own, proof) }, { enclosure, runSeconds: SECONDS });
        programs++;
        seconds += verdict.wallMs / 1000;
        return verdict;
      };
      const canonical = await run(solution);
      const variants: Verdict["outcome"][] = [];
      // Of a solution that does not pass itself, a failing variant says nothing.
      for (const mutant of canonical.outcome === "passed" ? mutants(solution, { language, prompt, most: TRIES }) : []) {
        const { outcome } = await run(mutant);
        variants.push(outcome);
        if (CAUGHT.has(outcome)) break;
      }
      results.push({ id, canonical, variants });
      if (canonical.outcome !== "passed") console.log(`${id}: ${canonical.outcome}: ${canonical.said}`);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  const passed = results.filter(({ canonical }) => canonical.outcome === "passed");
  const others = results.filter(({ canonical }) => canonical.outcome !== "passed").map(({ id, canonical }) => `${id} ${canonical.outcome}`);
  const caught = passed.filter(({ variants }) => variants.some((outcome) => CAUGHT.has(outcome)));
  const escaped = passed.filter(({ variants }) => !variants.some((outcome) => CAUGHT.has(outcome))).map(({ id }) => id);
  const tried = passed.flatMap(({ variants }) => variants.filter((outcome) => outcome !== "compile-error"));
  console.log(`${name}: ${passed.length} of ${tasks.length}, variants of ${caught.length} caught, ${((performance.now() - started) / 1000).toFixed(0)} s`);
  const list = (ids: readonly string[]): string => (ids.length === 0 ? "none" : ids.toSorted().join(", "));
  return [`| ${name} | ${toolchain.version} | ${passed.length} / ${tasks.length} | ${list(others)} | ${caught.length} of ${passed.length} (${tried.length} variants run; not caught: ${list(escaped)}) | ${(seconds / programs).toFixed(2)} s |`];
}

const wanted = process.argv.slice(2);
const chosen = names.filter((name) => wanted.length === 0 || wanted.includes(name));
const { enclosure, notes } = await openEnclosure({ unsafe: false });
for (const note of notes) console.log(note);
for (const name of chosen) {
  const rows = await check(name, enclosure);
  // A row of the table is replaced where it stands, so that languages can be run one at a time.
  const doc = readFileSync(DOC, "utf8");
  const [row = ""] = rows;
  writeFileSync(DOC, doc.replace(new RegExp(`^\\| ${name} \\|.*$`, "m"), () => row));
}
