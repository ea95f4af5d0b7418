/**
 * `npm run check:evaluation [-- --record]`: MMLU and perplexity of minimind2-small by fedtune and by transformers, question by
 * question. Prints the differences and fails where a letter or the mean loss differs (1e-4); `--record` writes what transformers
 * gave to test/goldens/evaluation.json, against which the tests check without Python. FEDTUNE_PYTHON names an interpreter that
 * has torch and transformers, else a throw-away virtual environment is made.
 */
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { z } from "zod";
import { evaluate } from "../src/index.ts";
import { CASES, type EvaluationCase, goldenSchema } from "./evaluation/cases.ts";
import { findPython } from "./peft/python.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
const shared = join(root, "..", "shared");
const { values } = parseArgs({ options: { record: { type: "boolean", default: false } } });
if (!existsSync(shared)) {
  console.error("check-evaluation: expected models and data in ../shared, got no such folder. Put it beside the project.");
  process.exit(2);
}
process.env["FEDTUNE_DATA"] ??= join(shared, "data");
const python = findPython();
const model = join(shared, "models", "minimind2-small");
const out = mkdtempSync(join(tmpdir(), "fedtune-evaluation-"));

function askWitness({ witness, data }: EvaluationCase, ids: readonly string[]): z.infer<typeof goldenSchema>["mmlu"] {
  const { status, stdout, stderr, error } = spawnSync(python, [join(root, "tools", "evaluation", "witness.py"), witness, model, join(shared, data)], { input: ids.join("\n"), encoding: "utf8", maxBuffer: 1 << 28 });
  if (status !== 0) throw new Error(`witness.py: expected exit code 0, got ${error?.message ?? status}.\n${stderr.slice(-4000)}`);
  return goldenSchema.shape.mmlu.parse(JSON.parse(stdout.trimEnd().split("\n").at(-1) ?? ""));
}

const answerSchema = z.object({ id: z.string(), parsed: z.unknown(), outputs: z.array(z.object({ logLikelihood: z.number().optional() })), scores: z.record(z.string(), z.number()) });
const golden: Record<string, unknown> = {};
let failed = false;
for (const one of CASES) {
  const [result] = await evaluate({ model, benchmarks: [{ name: one.benchmark, settings: one.settings(shared) }], limit: one.limit, out });
  const answers = readFileSync(result?.answers ?? "", "utf8").trimEnd().split("\n").map((line) => answerSchema.parse(JSON.parse(line)));
  const ids = answers.map(({ id }) => one.witnessId(id));
  const witness = askWitness(one, ids);
  let [differing, worst, own, wanted, tokens] = [0, 0, 0, 0, 0];
  for (const [i, said] of witness.results.entries()) {
    const answer = answers[i];
    if (answer === undefined) throw new Error("an answer is missing");
    if (said.letter !== undefined && said.letter !== answer.parsed) differing++;
    said.scores?.forEach((score, c) => (worst = Math.max(worst, Math.abs(score - (answer.outputs[c]?.logLikelihood ?? NaN)))));
    if (said.nll !== undefined) {
      own += answer.scores["nll"] ?? NaN;
      wanted += said.nll;
      tokens += said.tokens ?? 0;
      if (said.tokens !== answer.scores["tokens"]) differing++;
    }
  }
  if (tokens > 0) worst = Math.abs(own - wanted) / tokens;
  console.log(JSON.stringify({ benchmark: one.benchmark, questions: ids.length, differing, worst, witnessSeconds: witness.seconds }));
  if (differing > 0 || !(worst < 1e-4)) failed = true;
  golden[one.benchmark] = witness;
}
rmSync(out, { recursive: true });
if (values.record && !failed) writeFileSync(join(root, "test", "goldens", "evaluation.json"), `${JSON.stringify(golden)}\n`);
process.exit(failed ? 1 : 0);
