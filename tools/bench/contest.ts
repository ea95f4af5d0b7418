/**
 * Runs commands in turns, so that all see the same machine, and takes the median of each field. Runs are kept in a record:
 * a contest that was cut off goes on with the first turn that is not whole, since a turn compares only runs of the same minutes.
 */
import { spawnSync } from "node:child_process";
import { performance } from "node:perf_hooks";
import { z } from "zod";
import { median } from "../../src/app/bench/figures.ts";
import type { RecordedRun, RunRecord } from "./record.ts";

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

/** Where commands run, and where their results are kept. */
export interface Arena {
  /** Folder in which the commands run. */
  readonly folder: string;
  readonly record: RunRecord;
  /** What the result of a contestant depends on besides its command: the code on its side, versions, the machine. */
  readonly identify: (contestant: Contestant) => string;
}

export interface ContestOptions {
  readonly what: string;
  readonly turns: number;
}

interface ExecuteOptions extends Pick<Arena, "folder"> {
  readonly timeoutMs?: number;
}

/** The JSON object of the last line; undefined where the command took too long. Throws where it fails otherwise. */
export function execute({ command: [command = "", ...args], environment }: Omit<Contestant, "name">, { folder, timeoutMs }: ExecuteOptions): Result | undefined {
  const { status, stdout, stderr, error } = spawnSync(command, args, { cwd: folder, encoding: "utf8", maxBuffer: 1 << 28, env: { ...process.env, ...environment }, ...(timeoutMs === undefined ? {} : { timeout: timeoutMs, killSignal: "SIGKILL" }) });
  if (error !== undefined && "code" in error && error.code === "ETIMEDOUT") return undefined;
  if (status !== 0) throw new Error(`${command} ${args.join(" ")}: expected exit code 0, got ${error?.message ?? status}.\n${stderr.slice(-4000)}${stdout.slice(-1000)}`);
  return z.record(z.string(), z.unknown()).parse(JSON.parse(stdout.trimEnd().split("\n").at(-1) ?? ""));
}

const keyOf = (contestant: Contestant, { identify }: Arena): string => `${identify(contestant)} ${contestant.command.slice(1).join(" ")} ${JSON.stringify(contestant.environment ?? {})}`;

/** Runs a contestant and keeps the result. */
function runNow(contestant: Contestant, arena: Arena, { what, turn }: Pick<RecordedRun, "what" | "turn">): Result {
  const result = execute(contestant, arena) ?? {};
  arena.record.keep({ key: keyOf(contestant, arena), what, contestant: contestant.name, turn, at: new Date().toISOString(), result });
  return result;
}

/** Every contestant `turns` times, one after the other in each turn. Each result is printed as a JSON line. */
export function compete({ what, turns }: ContestOptions, contestants: readonly Contestant[], arena: Arena): readonly Standing[] {
  const results = contestants.map((): Result[] => []);
  for (let turn = 1; turn <= turns; turn++) {
    const known = contestants.map((c) => arena.record.find(keyOf(c, arena), turn));
    const whole = known.every((run) => run !== undefined);
    contestants.forEach((contestant, i) => {
      const earlier = whole ? known[i] : undefined;
      const result = earlier?.result ?? runNow(contestant, arena, { what, turn });
      console.log(JSON.stringify({ what, turn, ...(earlier === undefined ? {} : { kept_from: earlier.at }), contestant: contestant.name, ...result }));
      results[i]?.push(result);
    });
  }
  return contestants.map(({ name }, i) => ({ name, results: results[i] ?? [] }));
}

/** The median of a field over the turns; NaN where it is not a number. */
export function medianOf({ results }: Standing, field: string): number {
  return median(results.map((result) => Number(result[field] ?? Number.NaN)));
}

interface ScoutOptions {
  /** More of it is better. */
  readonly field: string;
  readonly isFloat32: (name: string) => boolean;
}

/** A mode gets at least this long, and five times as long as the first one took: compiling counts too. */
const LEAST_LIMIT_MS = 300_000;

/**
 * One short run of each candidate; the names of those worth the full contest (`worthwhile`). One that takes five times as
 * long as the first is given up; one that fails is left out, unless it is the first.
 */
export function scout(candidates: readonly Contestant[], arena: Arena, { field, isFloat32 }: ScoutOptions): readonly string[] {
  const figures = new Map<string, number>();
  let limitMs: number | undefined;
  for (const candidate of candidates) {
    const key = keyOf(candidate, arena);
    const begun = performance.now();
    let result = arena.record.find(key, 0)?.result;
    if (result === undefined) {
      try {
        const found = execute(candidate, { ...arena, ...(limitMs === undefined ? {} : { timeoutMs: limitMs }) });
        result = found ?? { scouted_out: `more than ${Math.round((limitMs ?? 0) / 1000)} s` };
      } catch (error) {
        if (limitMs === undefined) throw error;
        result = { scouted_out: String(error).slice(-500) };
      }
      result = { ...result, scout_ms: Math.round(performance.now() - begun) };
      arena.record.keep({ key, what: `which modes take part, by ${field}`, contestant: candidate.name, turn: 0, at: new Date().toISOString(), result });
    }
    console.log(JSON.stringify({ scouted: candidate.name, [field]: result[field] ?? result["scouted_out"] }));
    if (result["scouted_out"] === undefined) figures.set(candidate.name, Number(result[field]));
    limitMs ??= Math.max(LEAST_LIMIT_MS, 5 * Number(result["scout_ms"] ?? 0));
  }
  return worthwhile(figures, isFloat32);
}

/** The first name, those within a tenth of the best figure, and the best of float32. */
export function worthwhile(figures: ReadonlyMap<string, number>, isFloat32: (name: string) => boolean): readonly string[] {
  const best = Math.max(...figures.values());
  const bestFloat32 = Math.max(...[...figures].filter(([name]) => isFloat32(name)).map(([, figure]) => figure));
  return [...figures].filter(([name, figure], i) => i === 0 || figure >= 0.9 * best || (isFloat32(name) && figure === bestFloat32)).map(([name]) => name);
}
