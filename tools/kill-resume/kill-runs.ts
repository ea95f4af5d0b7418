/** Kills runs of one experiment at random instants, resumes them, and compares the adapter with that of an undisturbed run. */
import { existsSync, mkdirSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { sha256 } from "../../src/core/base/hash.ts";
import { randomKey, uniforms } from "../../src/core/base/random.ts";
import { runFedtune } from "./processes.ts";

export interface KillSetup {
  /** What is run: a config and overrides, as on the command line after `fedtune run`, without the output folder. */
  readonly experiment: readonly string[];
  /** An empty folder for the outputs. */
  readonly folder: string;
  readonly kills: number;
  readonly seed: number;
}

export interface Undisturbed {
  readonly seconds: number;
  /** SHA-256 over the adapter's files. */
  readonly adapter: string;
}

export interface KillResult {
  readonly killedAtSeconds: number;
  /** What the kill met: nothing on disk yet, a run under way, or a run that had already ended. */
  readonly met: "nothing" | "run" | "end";
  /** How long the run took that ended before the kill: what a run takes now. Absent where it was killed. */
  readonly endedAfterSeconds?: number;
  /** Whether the adapter's bytes equal those of the undisturbed run. */
  readonly same: boolean;
  /** What fedtune said, where the bytes differ. */
  readonly output: string;
}

/** The run that all others are compared with. Throws where it does not end with 0. */
export async function runUndisturbed(setup: KillSetup): Promise<Undisturbed> {
  const output = outputFolder(setup, "undisturbed");
  const ended = await runFedtune(runArguments(setup, output), { cwd: setup.folder });
  if (ended.code !== 0) throw new Error(`undisturbed run: expected exit code 0, got ${ended.code}.\n${ended.output}`);
  const run = findRun(output);
  if (run === undefined) throw new Error(`undisturbed run: expected a run folder in ${output}, got none.\n${ended.output}`);
  const adapter = hashAdapter(run);
  if (adapter === undefined) throw new Error(`undisturbed run: expected an adapter in ${run}, got none.\n${ended.output}`);
  return { seconds: ended.seconds, adapter };
}

/**
 * Kill number `index` (from 0) of `setup.kills`: the instants lie in equal parts of the undisturbed duration, one at random in
 * each, so that start-up and export are met too. A run that left nothing on disk is started again; any other is resumed.
 */
export async function killAndResume(setup: KillSetup, undisturbed: Undisturbed, index: number): Promise<KillResult> {
  const output = outputFolder(setup, `kill-${index}`);
  const [random = 0.5] = uniforms(randomKey(setup.seed, "kill"), [index], 1);
  const killedAtSeconds = ((index + random) / setup.kills) * undisturbed.seconds;
  const killed = await runFedtune(runArguments(setup, output), { cwd: setup.folder, killAfterMs: killedAtSeconds * 1000 });
  const found = findRun(output);
  const again = found === undefined ? runArguments(setup, output) : ["resume", found];
  const resumed = await runFedtune(again, { cwd: setup.folder });
  const run = findRun(output);
  const same = resumed.code === 0 && run !== undefined && hashAdapter(run) === undisturbed.adapter;
  return { killedAtSeconds, ...(killed.code === null ? {} : { endedAfterSeconds: killed.seconds }), met: killed.code !== null ? "end" : found === undefined ? "nothing" : "run", same, output: same ? "" : `${killed.output}\n$ fedtune ${again.join(" ")}\n${resumed.output}(exit code ${resumed.code})` };
}

function runArguments(setup: KillSetup, output: string): readonly string[] {
  return ["run", ...setup.experiment, `output=${output}`];
}

function outputFolder(setup: KillSetup, name: string): string {
  const folder = join(setup.folder, name);
  mkdirSync(folder, { recursive: true });
  return folder;
}

/** The only run folder below an output folder, or undefined; one that was killed while it was made has another name. */
function findRun(output: string): string | undefined {
  const runs = readdirSync(output, { withFileTypes: true }).filter((entry) => entry.isDirectory() && !entry.name.startsWith("."));
  if (runs.length > 1) throw new Error(`${output}: expected one run, got ${runs.map((run) => run.name).join(", ")}`);
  return runs[0] === undefined ? undefined : join(output, runs[0].name);
}

/** SHA-256 over names and bytes of the files in a run's adapter folder, or undefined where there is no adapter. */
function hashAdapter(run: string): string | undefined {
  const folder = join(run, "adapter");
  if (!existsSync(join(folder, "adapter_model.safetensors"))) return undefined;
  return sha256(...readdirSync(folder).toSorted().flatMap((file) => [file, readFileSync(join(folder, file))]));
}
