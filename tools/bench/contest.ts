/** Runs commands in turns, so that all see the same machine, and takes the median of each field. */
import { spawnSync } from "node:child_process";
import { performance } from "node:perf_hooks";
import { z } from "zod";
import { median } from "../../src/app/bench/figures.ts";

/** A command that ends with one JSON line. */
export interface Contestant {
  readonly name: string;
  readonly command: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
}

export type Result = Readonly<Record<string, unknown>>;

/** Results of one contestant, in the order of the turns. */
export interface Standing {
  readonly name: string;
  readonly results: readonly Result[];
}

export interface ContestOptions {
  readonly what: string;
  readonly runs: number;
  /** Folder in which the commands run. */
  readonly folder: string;
}

interface ExecuteOptions extends Pick<ContestOptions, "folder"> {
  readonly timeoutMs?: number;
}

/** The JSON object of the last line; undefined where the command took too long. Throws where it fails otherwise. */
export function execute({ command: [command = "", ...args], environment }: Omit<Contestant, "name">, { folder, timeoutMs }: ExecuteOptions): Result | undefined {
  const { status, stdout, stderr, error } = spawnSync(command, args, { cwd: folder, encoding: "utf8", maxBuffer: 1 << 28, env: { ...process.env, ...environment }, ...(timeoutMs === undefined ? {} : { timeout: timeoutMs, killSignal: "SIGKILL" }) });
  if (error !== undefined && "code" in error && error.code === "ETIMEDOUT") return undefined;
  if (status !== 0) throw new Error(`${command} ${args.join(" ")}: expected exit code 0, got ${error?.message ?? status}.\n${stderr.slice(-4000)}${stdout.slice(-1000)}`);
  return z.record(z.string(), z.unknown()).parse(JSON.parse(stdout.trimEnd().split("\n").at(-1) ?? ""));
}

/** Every contestant `runs` times, one after the other in each turn. Each result is printed as a JSON line. */
export function compete({ what, runs, folder }: ContestOptions, contestants: readonly Contestant[]): readonly Standing[] {
  const results = contestants.map((): Result[] => []);
  for (let run = 0; run < runs; run++) {
    contestants.forEach((contestant, i) => {
      const result = execute(contestant, { folder }) ?? {};
      console.log(JSON.stringify({ what, run: run + 1, contestant: contestant.name, ...result }));
      results[i]?.push(result);
    });
  }
  return contestants.map(({ name }, i) => ({ name, results: results[i] ?? [] }));
}

/** The median of a field over the turns; NaN where it is not a number. */
export function medianOf({ results }: Standing, field: string): number {
  return median(results.map((result) => Number(result[field] ?? Number.NaN)));
}

/**
 * One short run of each candidate; the names of those worth the full contest: the first, and any whose figure (more is better)
 * comes within a tenth of the best. One that takes five times as long as the first is given up.
 */
export function scout(candidates: readonly Contestant[], { field, folder }: { readonly field: string; readonly folder: string }): readonly string[] {
  const figures = new Map<string, number>();
  let limitMs: number | undefined;
  for (const candidate of candidates) {
    const begun = performance.now();
    try {
      const result = execute(candidate, { folder, ...(limitMs === undefined ? {} : { timeoutMs: limitMs }) });
      if (result !== undefined) figures.set(candidate.name, Number(result[field]));
      console.log(JSON.stringify({ scouted: candidate.name, [field]: result?.[field] ?? `more than ${Math.round((limitMs ?? 0) / 1000)} s` }));
    } catch (error) {
      // A mode that this machine's PyTorch cannot run is out of the contest; the first one has to run.
      if (limitMs === undefined) throw error;
      console.log(JSON.stringify({ scouted: candidate.name, failed: String(error).slice(0, 500) }));
    }
    limitMs ??= Math.max(60_000, Math.round(5 * (performance.now() - begun)));
  }
  return worthwhile(figures);
}

/** The first name, and those within a tenth of the best figure. */
export function worthwhile(figures: ReadonlyMap<string, number>): readonly string[] {
  const best = Math.max(...figures.values());
  return [...figures].filter(([, figure], i) => i === 0 || figure >= 0.9 * best).map(([name]) => name);
}
