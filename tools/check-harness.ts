/**
 * `npm run check:harness [-- --rows N]`: lm-evaluation-harness against `fedtune api`, and fedtune's own multiple-choice benchmark,
 * on the same rows of MMLU with minimind2-small. The harness sends token ids, then texts. Prints accuracies and the largest
 * difference of a log-likelihood; fails where an accuracy, an answer or a log-likelihood (1e-3) differs. FEDTUNE_PYTHON names an
 * interpreter that has lm_eval[api] and transformers, else a virtual environment of its own is made.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, globSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { z } from "zod";
import { evaluate } from "../src/index.ts";
import { findPython } from "./peft/python.ts";

const PACKAGES = ["lm-eval[api]==0.4.13", "transformers==5.23.0"];
/** The bos as text: both sides then read the same tokens. */
const BOS = "<|im_start|>";
const root = fileURLToPath(new URL("..", import.meta.url));
const shared = join(root, "..", "shared");
const { values } = parseArgs({ options: { rows: { type: "string", default: "40" } } });
if (!existsSync(shared)) {
  console.error("check-harness: expected models and data in ../shared, got no such folder. Put it beside the project.");
  process.exit(2);
}
const python = findPython({ name: "check-harness", packages: PACKAGES });
const model = join(shared, "models", "minimind2-small");
const folder = mkdtempSync(join(tmpdir(), "fedtune-harness-"));

/** Every so-many-th row, so that all subjects are seen. */
function writeRows(count: number): string {
  const lines = readFileSync(join(shared, "data", "mmlu", "mmlu.jsonl"), "utf8").trimEnd().split("\n").filter((line) => line.includes('"split": "test"'));
  const step = Math.max(1, Math.floor(lines.length / count));
  const path = join(folder, "rows.jsonl");
  writeFileSync(path, `${lines.filter((_, i) => i % step === 0).slice(0, count).join("\n")}\n`);
  return path;
}

const rows = writeRows(Number(values.rows));
writeFileSync(join(folder, "task.yaml"), `task: fedtune_choice
dataset_path: json
dataset_kwargs:
  data_files:
    test: ${rows}
test_split: test
output_type: multiple_choice
doc_to_text: "${BOS}Question: {{question}}\\nAnswer:"
doc_to_choice: "{{choices}}"
doc_to_target: "{{answer}}"
metric_list:
  - metric: acc
`);

const sampleSchema = z.object({ doc_id: z.int(), resps: z.array(z.array(z.tuple([z.coerce.number(), z.unknown()]))), acc: z.number() });

/** The harness's log-likelihoods of each question's choices. */
async function askHarness(url: string, kind: "ids" | "texts"): Promise<{ readonly accuracy: number; readonly likelihoods: readonly (readonly number[])[]; readonly seconds: number }> {
  const out = join(folder, kind);
  const settings = `model=minimind2-small,base_url=${url}/v1/completions,tokenizer_backend=huggingface,tokenizer=${model},tokenized_requests=${kind === "ids" ? "True" : "False"},num_concurrent=4,max_retries=2,max_length=2048`;
  const started = Date.now();
  const child = spawn(python, ["-m", "lm_eval", "run", "--model", "local-completions", "--model_args", settings, "--tasks", "fedtune_choice", "--include_path", folder, "--batch_size", "1", "--output_path", out, "--log_samples"], {
    stdio: ["ignore", "inherit", "inherit"], env: { ...process.env, HF_HUB_OFFLINE: "1", HF_DATASETS_CACHE: join(folder, "cache"), TOKENIZERS_PARALLELISM: "false" },
  });
  const [code] = (await once(child, "exit")) as [number | null];
  if (code !== 0) throw new Error(`lm_eval: expected exit code 0, got ${code}`);
  const seconds = (Date.now() - started) / 1000;
  const [path = ""] = globSync(join(out, "**", "samples_*.jsonl"));
  const samples = readFileSync(path, "utf8").trimEnd().split("\n").map((line) => sampleSchema.parse(JSON.parse(line))).sort((a, b) => a.doc_id - b.doc_id);
  return { accuracy: samples.reduce((sum, { acc }) => sum + acc, 0) / samples.length, likelihoods: samples.map(({ resps }) => resps.map(([first]) => first?.[0] ?? NaN)), seconds };
}

const answerSchema = z.object({ outputs: z.array(z.object({ logLikelihood: z.number() })) });

async function askOwn(): Promise<{ readonly accuracy: number; readonly likelihoods: readonly (readonly number[])[] }> {
  const [result] = await evaluate({ model, benchmarks: [{ name: "multiple-choice", settings: { path: rows, prompt: `${BOS}Question: {question}\nAnswer:` } }], out: join(folder, "own") });
  const likelihoods = readFileSync(result?.answers ?? "", "utf8").trimEnd().split("\n").map((line) => answerSchema.parse(JSON.parse(line)).outputs.map(({ logLikelihood }) => logLikelihood));
  return { accuracy: result?.figures.find(({ name }) => name === "accuracy")?.value ?? NaN, likelihoods };
}

const best = (scores: readonly number[]): number => scores.indexOf(Math.max(...scores));

const server = spawn(process.execPath, [join(root, "bin", "fedtune.mjs"), "api", model, "--port", "0", "--json"], { stdio: ["ignore", "pipe", "inherit"] });
try {
  const [line] = (await once(createInterface({ input: server.stdout }), "line")) as [string];
  const { url } = z.object({ url: z.string() }).parse(JSON.parse(line));
  const own = await askOwn();
  let failed = false;
  for (const kind of ["ids", "texts"] as const) {
    const harness = await askHarness(url, kind);
    const differing = own.likelihoods.filter((scores, i) => best(scores) !== best(harness.likelihoods[i] ?? [])).length;
    const worst = Math.max(...own.likelihoods.flatMap((scores, i) => scores.map((score, c) => Math.abs(score - (harness.likelihoods[i]?.[c] ?? NaN)))));
    console.log(JSON.stringify({ requests: kind, questions: own.likelihoods.length, ownAccuracy: own.accuracy, harnessAccuracy: harness.accuracy, differing, worst, harnessSeconds: harness.seconds }));
    if (differing > 0 || harness.accuracy !== own.accuracy || !(worst < 1e-3)) failed = true;
  }
  process.exitCode = failed ? 1 : 0;
} finally {
  server.kill("SIGINT");
  await once(server, "exit");
  rmSync(folder, { recursive: true, force: true });
}
