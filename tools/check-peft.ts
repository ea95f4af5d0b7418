/**
 * `npm run check:peft [-- ADAPTER --model FOLDER]`: loads an adapter that fedtune trained with PyTorch and PEFT, and compares
 * logits with fedtune's own. Without arguments it first trains one: the demo, cut short. Outside `npm test`: it needs Python.
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { z } from "zod";
import { loadTokenizer } from "../src/llm/text/tokenizer.ts";
import { runFedtune } from "./kill-resume/processes.ts";
import { fedtuneLogits } from "./peft/fedtune-logits.ts";
import { findPython } from "./peft/python.ts";

/** Largest allowed ‖fedtune − PEFT‖ / ‖PEFT‖ over all logits of a prompt. */
const TOLERANCE = 1e-4;
/** The adapter must move the logits at least this much, or the comparison would say nothing about it. */
const LEAST_EFFECT = 1e-3;
const PROMPTS = ["Once upon a time, a king", "To be, or not to be", "What is a computer, and who made the first one?\nTell me."];

const root = fileURLToPath(new URL("..", import.meta.url));
const { values, positionals } = parseArgs({ allowPositionals: true, options: { model: { type: "string", default: join(root, "assets", "stories260k") } } });
const scratch = mkdtempSync(join(tmpdir(), "fedtune-check-peft-"));
try {
  process.exitCode = (await check()) ? 0 : 1;
} finally {
  rmSync(scratch, { recursive: true, force: true });
}

async function check(): Promise<boolean> {
  const modelFolder = resolve(values.model);
  const adapterFolder = positionals[0] === undefined ? await trainDemo() : resolve(positionals[0]);
  const tokenizer = loadTokenizer(modelFolder);
  const prompts = PROMPTS.map((text) => [...tokenizer.encode(text, { addSpecialTokens: true })]);
  const peft = askPeft({ model: modelFolder, adapter: adapterFolder, prompts });
  const own = await fedtuneLogits({ modelFolder, adapterFolder, prompts });
  let ok = true;
  PROMPTS.forEach((prompt, i) => {
    const [ours, theirs, base] = [own[i], peft.logits[i], peft.base[i]];
    const difference = ours === undefined || theirs === undefined ? Infinity : relativeDistance(ours, theirs);
    const effect = base === undefined || theirs === undefined ? 0 : relativeDistance(theirs, base);
    const good = difference <= TOLERANCE && effect >= LEAST_EFFECT;
    ok &&= good;
    console.log(JSON.stringify({ prompt, ok: good, difference, tolerance: TOLERANCE, effect, ...peft.versions }));
  });
  return ok;
}

/** Trains the demo for two rounds and gives its adapter folder. */
async function trainDemo(): Promise<string> {
  const args = ["run", join(root, "assets", "demo.yaml"), "federation.rounds=2", "compare=[federated]", `output=${scratch}`];
  const { code, output } = await runFedtune(args, { cwd: scratch });
  const run = readdirSync(scratch)[0];
  if (code !== 0 || run === undefined) throw new Error(`fedtune ${args.join(" ")}: expected a run that ends with 0, got ${code}.\n${output}`);
  return join(scratch, run, "adapter");
}

function askPeft(request: { readonly model: string; readonly adapter: string; readonly prompts: readonly (readonly number[])[] }) {
  const { status, stdout, stderr, error } = spawnSync(findPython(), [join(root, "tools", "check_peft.py")], { input: JSON.stringify(request), encoding: "utf8", maxBuffer: 1 << 30 });
  if (status !== 0) throw new Error(`check_peft.py: expected exit code 0, got ${error?.message ?? status}.\n${stderr}`);
  const floats = z.string().transform((text) => {
    const bytes = new Uint8Array(Buffer.from(text, "base64"));
    return new Float32Array(bytes.buffer, 0, bytes.length / 4);
  });
  return z.object({ versions: z.record(z.string(), z.string()), logits: z.array(floats), base: z.array(floats) }).parse(JSON.parse(stdout));
}

/** ‖a − b‖ / ‖b‖; infinite where the lengths differ or a value is not finite. */
function relativeDistance(a: Float32Array, b: Float32Array): number {
  if (a.length !== b.length) return Infinity;
  let [difference, norm] = [0, 0];
  for (let i = 0; i < a.length; i++) {
    const [x = NaN, y = NaN] = [a[i], b[i]];
    difference += (x - y) ** 2;
    norm += y ** 2;
  }
  const distance = Math.sqrt(difference / norm);
  return Number.isFinite(distance) ? distance : Infinity;
}
