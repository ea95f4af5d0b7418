/**
 * `npm run bench:peers [-- --runs 5 --only step,rows,round,generate,memory,load,sweep,evaluate --out docs/benchmarks.md]`: fedtune and
 * its peers (PyTorch with PEFT, Flower, transformers) on the same work, fedtune as it is installed, one after the other in turns so that both see the same machine.
 * Keeps every run as a JSON line in `--record`, from where a contest that was cut off goes on (`--fresh` begins anew), and writes
 * the tables between markers into `--out`. Modes of PyTorch are tried once each; eager float32, the best float32 and the best go on.
 * The peers are those of ../shared/bench and tools/bench; FEDTUNE_PYTHON names an interpreter that has their packages, else a
 * throw-away virtual environment is made. Wants a machine that does nothing else.
 */
import { existsSync, globSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { z } from "zod";
import { sha256 } from "../src/core/base/hash.ts";
import { machine, versions } from "../src/index.ts";
import { compete, execute, scout } from "./bench/contest.ts";
import type { Arena, Contestant, Standing } from "./bench/contest.ts";
import { installPackage } from "./bench/installed.ts";
import { openRecord } from "./bench/record.ts";
import { contestTable, formatNumber, markdownTable, replaceSection } from "./bench/tables.ts";
import type { Column } from "./bench/tables.ts";
import { findPython, PACKAGES } from "./peft/python.ts";

const TABLES = ["step", "rows", "round", "generate", "memory", "load", "sweep", "evaluate"] as const;
const root = fileURLToPath(new URL("..", import.meta.url));
const shared = join(root, "..", "shared");
const folder = join(shared, "bench");
const { values } = parseArgs({
  options: {
    runs: { type: "string", default: "5" },
    only: { type: "string", default: TABLES.join(",") },
    out: { type: "string", default: join(root, "docs", "benchmarks.md") },
    models: { type: "string", default: "smollm2-135m,minimind2-small" },
    steps: { type: "string", default: "8" },
    warmup: { type: "string", default: "2" },
    examples: { type: "string", default: "512" },
    rounds: { type: "string", default: "3" },
    "new-tokens": { type: "string", default: "128" },
    questions: { type: "string", default: "128" },
    "peer-questions": { type: "string", default: "32" },
    precisions: { type: "string", default: "float32,int8" },
    modes: { type: "string", default: "fp32,fp32 compiled,amp,amp compiled,bf16,bf16 compiled" },
    record: { type: "string", default: join(root, "runs", "bench-peers.jsonl") },
    fresh: { type: "boolean", default: false },
  },
});
const list = (text: string): readonly string[] => text.split(",").filter((part) => part !== "");
const wanted = z.array(z.enum(TABLES)).parse(list(values.only));
const runs = z.coerce.number().int().min(1).parse(values.runs);
const out = resolve(values.out);

if (!existsSync(folder)) {
  console.error("bench-peers: expected the peers in ../shared/bench, got no such folder. Put it beside the project.");
  process.exit(2);
}
const python = findPython({ name: "bench-peers", packages: [...PACKAGES, "flwr[simulation]==1.41.0"] });
const program = [process.execPath, installPackage(root, join(root, "runs", "installed"))];
const fedtune = [...program, "bench"];
const data = join(shared, "data", "dolly15k", "dolly15k-fedit10.jsonl");
const modelFolder = (name: string): string => join(shared, "models", name);
const isPeer = (name: string): boolean => !name.startsWith("fedtune");
/** Flower's clients train in float32; PyTorch's modes name their precision. */
const isFloat32 = (name: string): boolean => isPeer(name) && !/ (amp|bf16)/.test(name);

/** Hash of what a side's results depend on: its code, and what it is run by. */
function hashOf(patterns: readonly string[], facts: unknown): string {
  const files = patterns.flatMap((pattern) => globSync(pattern, { cwd: root })).filter((file) => !file.endsWith(".test.ts")).sort();
  return sha256(...files.flatMap((file) => [file, readFileSync(join(root, file))]), JSON.stringify(facts)).slice(0, 16);
}

/** Versions of the peers' packages. */
const packages = execute({ command: [python, "-c", "import json, torch, transformers, peft, flwr; print(json.dumps(dict(PyTorch=torch.__version__, transformers=transformers.__version__, PEFT=peft.__version__, Flower=flwr.__version__)))"] }, { folder }) ?? {};
const sides = {
  fedtune: hashOf(["src/**/*.ts", "package.json"], [machine(), versions()]),
  peer: hashOf(["../shared/bench/*.py", "tools/bench/*.py"], [machine(), packages]),
};
if (values.fresh) rmSync(values.record, { force: true });
const arena: Arena = { folder, record: openRecord(resolve(values.record)), identify: ({ name }) => (isPeer(name) ? sides.peer : sides.fedtune) };

/** fedtune in each precision. */
const ours = (args: readonly string[]): readonly Contestant[] => list(values.precisions).map((precision) => ({ name: `fedtune ${precision}`, command: [...fedtune, ...args, "--precision", precision, "--json"] }));

/** A peer in each of PyTorch's modes, by the mode's name. */
const inModes = (peer: string, modes: readonly string[], command: readonly string[]): readonly Contestant[] =>
  modes.map((mode) => ({ name: `${peer} ${mode}`, command: [...command, "--mode", mode.split(" ")[0] ?? "fp32", ...(mode.includes("compiled") ? ["--compile"] : [])] }));

/** Eager float32, the best of float32 and the best of all modes, by one short run of each. */
function worthwhileOf(candidates: readonly Contestant[], short: readonly string[], field: string): readonly Contestant[] {
  const names = scout(candidates.map((c) => ({ ...c, command: [...c.command, ...short] })), arena, { field, isFloat32 });
  return candidates.filter(({ name }) => names.includes(name));
}

/** A standing's times by question asked. */
const byQuestion = ({ name, results }: Standing): Standing => ({
  name,
  results: results.map((result) => ({ ...result, s_per_question: Number(result["seconds"]) / Number(result["asked"]), processor_s_per_question: Number(result["processorSeconds"]) / Number(result["asked"]) })),
});

interface Figure {
  readonly field: string;
  readonly moreIsBetter: boolean;
  /** What fedtune is compared with; absent: its peers. */
  readonly reference?: string;
}

function contest(what: string, contestants: readonly Contestant[], columns: readonly Column[], { reference, ...figure }: Figure): string {
  const standings = compete({ what, turns: runs }, contestants, arena);
  const roles = reference === undefined ? { isPeer, isFloat32 } : { isPeer: (name: string) => name === reference, isFloat32: () => false };
  return `**${what}**\n\n${contestTable(standings, columns, { ...figure, ...roles })}`;
}

const MEMORY: Column = { title: "peak memory (MB)", field: "peak_rss_mb", digits: 0 };
const SHARE: Column = { title: "share of bare products", field: "product_share", digits: 2 };
const byRate = (field: string): Figure => ({ field, moreIsBetter: true });

function stepTables(): string {
  return list(values.models).map((model) => {
    const size = ["--model", model, "--batch", "4", "--tokens", "256"];
    const peers = worthwhileOf(inModes("PyTorch", list(values.modes), [python, "peer_torch.py", ...size]), ["--steps", "2", "--warmup", "1"], "tokens_per_s");
    const steps = ["--steps", values.steps, "--warmup", values.warmup];
    return contest(`${model}: B 4 × T 256 random tokens, LoRA r 8 on q,v`, [...peers.map((p) => ({ ...p, command: [...p.command, ...steps] })), ...ours(["step", ...size, ...steps])],
      [{ title: "median step (ms)", field: "median_step_ms", digits: 0 }, { title: "tokens/s", field: "tokens_per_s", digits: 0 }, MEMORY, SHARE], byRate("tokens_per_s"));
  }).join("\n\n");
}

function rowsTables(): string {
  const size = ["--model", modelFolder("minimind2-small"), "--data", data, "--batch", "4", "--tokens", "512"];
  const columns = [{ title: "examples/s", field: "examples_per_s", digits: 2 }, { title: "tokens/s", field: "tokens_per_s", digits: 0 }, { title: "padding", field: "padding", digits: 2 }, MEMORY];
  const examples = ["--examples", values.examples, "--warmup", values.warmup];
  return [{ order: "in file order", extra: [] }, { order: "sorted by length", extra: ["--group-by-length"] }].map(({ order, extra }) => {
    const peers = worthwhileOf(inModes("PyTorch", list(values.modes), [python, "peer_torch.py", ...size, ...extra]), ["--examples", "32", "--warmup", "1"], "examples_per_s");
    return contest(`minimind2-small, ${values.examples} Dolly rows cut at 512 tokens, B 4; PyTorch ${order}`, [...peers.map((p) => ({ ...p, command: [...p.command, ...examples] })), ...ours(["step", ...size, ...examples])], columns, byRate("examples_per_s"));
  }).join("\n\n");
}

function roundTables(): string {
  const columns = [{ title: "median round (s)", field: "median_round_s", digits: 3 }, { title: "whole run (s)", field: "total_s", digits: 1 }];
  return [["minimind2-small", "4"], ["stories260k", "4"], ["stories260k", "0"]].map(([model = "", steps = ""]) => {
    const size = ["--model", modelFolder(model), "--clients", "32", "--steps", steps, "--rounds", values.rounds];
    const peers = ["1", "2"].map((workers): Contestant => ({ name: `Flower, ${workers} ${workers === "1" ? "worker" : "workers"}`, command: [python, "peer_flower.py", "--data", data, ...size, "--workers", workers] }));
    const trained = steps !== "0";
    // Flower is given the better of one and two workers, and so is fedtune.
    const shares = [{ label: "1 worker", flags: [] }, { label: "2 workers", flags: ["--workers", "2", "--threads", String(Math.max(1, Math.floor(availableParallelism() / 2)))] }];
    const contestants = trained ? shares.flatMap(({ label, flags }) => ours(["round", "--data", data, ...size, ...flags]).map(({ name, command }): Contestant => ({ name: `${name}, ${label}`, command }))) : [{ name: "fedtune", command: [...fedtune, "round", "--clients", "32", "--rounds", values.rounds, "--json"] }];
    const what = trained ? `${model}, 32 clients × 4 steps of one Dolly row` : "32 clients that train nothing, 1.8 MB of adapter";
    return contest(what, [...peers, ...contestants], trained ? columns : columns.slice(0, 1), { field: "median_round_s", moreIsBetter: false });
  }).join("\n\n");
}

function generateTables(): string {
  const columns = [{ title: "prefill tokens/s", field: "prefill_tokens_per_s", digits: 0 }, { title: "decode tokens/s", field: "decode_tokens_per_s", digits: 0 }, SHARE];
  return ["1", "16"].map((batch) => {
    const size = ["--model", modelFolder("minimind2-small"), "--batch", batch, "--tokens", "128"];
    const modes = list(values.modes).filter((mode) => !mode.startsWith("amp"));
    const peers = worthwhileOf(inModes("transformers", modes, [python, join(root, "tools", "bench", "peer_generate.py"), ...size]), ["--repeats", "1", "--new-tokens", "16"], "decode_tokens_per_s");
    const length = ["--new-tokens", values["new-tokens"]];
    return contest(`minimind2-small, batch ${batch}, 128 + ${values["new-tokens"]} tokens, greedy`, [...peers.map((p) => ({ ...p, command: [...p.command, ...length] })), ...ours(["generate", ...size, ...length])], columns, byRate("decode_tokens_per_s"));
  }).join("\n\n");
}

/** What a budget for activations saves on long rows, and what it costs. */
function memoryTables(): string {
  const unlimited = "fedtune float32, all kept";
  const size = [...fedtune, "step", "--model", "smollm2-135m", "--batch", "1", "--tokens", "2048", "--steps", values.steps, "--warmup", values.warmup, "--precision", "float32", "--json"];
  const contestants = [{ name: unlimited, command: [...size, "--activation-memory", "none"] }, { name: "fedtune float32, activation_memory: auto", command: [...size, "--activation-memory", "auto"] }];
  return contest("smollm2-135m: B 1 × T 2,048 random tokens, LoRA r 8 on q,v", contestants, [{ title: "median step (ms)", field: "median_step_ms", digits: 0 }, { title: "tokens/s", field: "tokens_per_s", digits: 0 }, MEMORY], { ...byRate("tokens_per_s"), reference: unlimited });
}

function loadTables(): string {
  const columns = [
    { title: "ready (ms)", field: "median_ready_ms", digits: 0 }, { title: "second session (ms)", field: "second_session_ms", digits: 0 }, { title: "base (MB)", field: "base_mb", digits: 0 },
    { title: "first session, private (MB)", field: "first_session_private_mb", digits: 1 }, { title: "second session, private (MB)", field: "second_session_private_mb", digits: 1 }, { title: "share of the base", field: "second_session_share_of_base", digits: 4 },
  ];
  return list(values.models).map((model) => contest(`${model}: a training session, before its first run`, ours(["load", "--model", model]), columns, byRate("base_mb"))).join("\n\n");
}

const sweepSchema = z.looseObject({ letter: z.string(), exponent: z.number(), table: z.array(z.object({ size: z.number(), us_per_token: z.number(), tokens_per_s: z.number(), peak_rss_mb: z.number() })) });

/** One run each: the points of a curve are taken in turns already. */
function sweepTables(): string {
  return [["tokens", "1"], ["clients", "1"], ["rank", "4"]].map(([sweep = "", batch = ""]) => {
    const tokens = sweep === "clients" ? "64" : "256";
    const contestant = { name: "fedtune", command: [...fedtune, "step", "--model", "minimind2-small", "--batch", batch, "--tokens", tokens, "--steps", "3", "--warmup", "1", "--sweep", sweep, "--json"] };
    const [standing] = compete({ what: `minimind2-small, ${sweep}`, turns: 1 }, [contestant], arena);
    const { letter, exponent, table } = sweepSchema.parse(standing?.results[0]);
    const rows = table.map((row) => [String(row.size), formatNumber(row.us_per_token, 1), formatNumber(row.tokens_per_s, 0), formatNumber(row.peak_rss_mb, 0)]);
    return `**minimind2-small, B ${batch}${sweep === "tokens" ? "" : ` × T ${tokens}`}: the time of a token goes as ${letter}^${formatNumber(exponent, 2)}** (one run; memory is the process's peak so far)\n\n${markdownTable([letter, "µs/token", "tokens/s", "peak memory (MB)"], rows)}`;
  }).join("\n\n");
}

/** `fedtune evaluate` against a loop that asks one question at a time. */
function evaluateTables(): string {
  const out = mkdtempSync(join(tmpdir(), "fedtune-bench-"));
  const model = modelFolder("minimind2-small");
  const columns = [{ title: "s per question", field: "s_per_question", digits: 3 }, { title: "processor s per question", field: "processor_s_per_question", digits: 3 }];
  const cases = [
    { what: "mmlu", title: "MMLU, 5-shot, anatomy", own: ["mmlu", "subjects=[anatomy]", "--limit", values.questions] },
    { what: "gsm8k", title: "GSM8K, 8-shot, at most 256 new tokens", own: ["gsm8k", "--limit", values.questions] },
  ];
  return cases.map(({ what, title, own }) => {
    const asked: Contestant = { name: "fedtune", command: [...program, "evaluate", ...own, "--model", model, "--out", out, "--json"], environment: { FEDTUNE_DATA: join(shared, "data") } };
    // Writes the prompts that the peer reads.
    execute(asked, { folder });
    const peer: Contestant = { name: "transformers, one at a time", command: [python, join(root, "tools", "bench", "peer_evaluate.py"), "--what", what, "--model", model, "--answers", join(out, `${what}.jsonl`), "--limit", values["peer-questions"]] };
    const name = `minimind2-small, ${title}; fedtune asked ${values.questions}, the peer ${values["peer-questions"]} of them`;
    const standings = compete({ what: name, turns: runs }, [peer, asked], arena).map(byQuestion);
    return `**${name}**\n\n${contestTable(standings, columns, { field: "s_per_question", moreIsBetter: false, isPeer, isFloat32 })}`;
  }).join("\n\n");
}

const MAKERS: Readonly<Record<(typeof TABLES)[number], () => string>> = { step: stepTables, rows: rowsTables, round: roundTables, generate: generateTables, memory: memoryTables, load: loadTables, sweep: sweepTables, evaluate: evaluateTables };

/** Where and how the tables were made, with what was asked for. */
function origin(): string {
  const { node, "onnxruntime-node": onnxruntime } = versions();
  const names = Object.entries({ Node: node, "onnxruntime-node": onnxruntime, ...packages }).map(([name, version]) => `${name} ${String(version)}`);
  const sizes = (["steps", "warmup", "examples", "rounds", "new-tokens"] as const).map((name) => `--${name} ${values[name]}`).join(" ");
  return `${new Date().toISOString().slice(0, 10)}, ${machine()}; ${names.join(", ")}; medians of ${runs} ${runs === 1 ? "run" : "runs"} in turns (${sizes}).`;
}

const madeAt = origin();
for (const name of wanted) {
  try {
    const section = `${MAKERS[name]()}\n\n*${madeAt}*`;
    console.log(section);
    writeFileSync(out, replaceSection(existsSync(out) ? readFileSync(out, "utf8") : "# Benchmarks\n", name, section));
  } catch (error) {
    // The other tables are worth having all the same; the kept runs of this one serve the next attempt.
    console.error(`bench-peers: table ${name}: ${error instanceof Error ? error.message : String(error)}`);
    process.exitCode = 1;
  }
}
