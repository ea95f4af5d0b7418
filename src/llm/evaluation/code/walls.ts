/**
 * Which enclosure this machine offers, found out by trying: each claims its walls, and a small program inside looks whether they
 * stand. Where none does, generated code runs only if the caller says so.
 */
import { mkdtempSync, readFileSync, readlinkSync, rmSync, writeFileSync } from "node:fs";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";
import { FedtuneError, messageOf } from "../../../core/base/errors.ts";
import { bare } from "./bare.ts";
import { bubblewrap } from "./bubblewrap.ts";
import { WALLS, type Enclosure, type Wall } from "./enclosure.ts";
import { rootNamespaces, rootNamespacesWithoutUser, userNamespaces } from "./namespaces.ts";
import { quote } from "./phases.ts";
import { runApart } from "./sandbox.ts";

/** What was found. */
export interface Enclosing {
  readonly enclosure: Enclosure;
  readonly missing: readonly Wall[];
  /** Enclosures that were tried before and do not work here, with the reason. */
  readonly refused: readonly string[];
}

/** The enclosures for this user, best first. */
function candidates(): readonly Enclosure[] {
  if (process.platform !== "linux") return [];
  return process.getuid?.() === 0 ? [rootNamespaces, rootNamespacesWithoutUser, bubblewrap] : [userNamespaces, bubblewrap];
}

/** What this process has as its network and is called, or a word that nothing equals. */
function own(read: () => string): string {
  try {
    return read().trim();
  } catch {
    return "unknown";
  }
}

/** One line per wall: a command that succeeds where the wall stands. `canary` is a file of the user that exists outside. */
function probes(canary: string): Readonly<Record<Wall, string>> {
  return {
    files: `test ! -e ${quote(canary)} && test ! -e ${quote(homedir())}/.profile && ! (: > /usr/.fedtune-probe && rm /usr/.fedtune-probe) 2>/dev/null`,
    network: `test "$(readlink /proc/self/ns/net)" != ${quote(own(() => readlinkSync("/proc/self/ns/net")))}`,
    processes: `test ! -d /proc/${process.pid} || test "$(cat /proc/${process.pid}/comm)" != ${quote(own(() => readFileSync("/proc/self/comm", "utf8")))}`,
    privileges: "! grep -q 'CapEff:.*[1-9a-f]' /proc/self/status && ! unshare --user --mount true 2>/dev/null",
    disk: "! head -c 2000000 /dev/zero > big 2>/dev/null",
  };
}

/** Tries one enclosure: the walls that do not stand. Throws where it does not even start. */
export async function missingWalls(enclosure: Enclosure): Promise<readonly Wall[]> {
  const folder = mkdtempSync(join(tmpdir(), "fedtune-canary-"));
  try {
    const canary = join(folder, "canary");
    writeFileSync(canary, "");
    const tries = Object.entries(probes(canary)).map(([wall, command]) => `if ${command}; then echo "stands ${wall}"; fi`);
    const phase = { name: "probe", command: ["/bin/sh", "-c", tries.join("\n")], wallMs: 20_000, cpuSeconds: 10 };
    const result = await runApart({ files: {}, phases: [phase] }, { enclosure, limits: { diskBytes: 2 ** 20 } });
    if (result.outcome !== "passed") throw new Error(`a harmless program ended as ${result.outcome}: ${result.stderr.trim()}`);
    const standing = new Set(result.stdout.split("\n"));
    return (Object.keys(WALLS) as Wall[]).filter((wall) => !enclosure.walls.includes(wall) || !standing.has(`stands ${wall}`));
  } finally {
    rmSync(folder, { recursive: true });
  }
}

async function detect(): Promise<Enclosing> {
  const refused: string[] = [];
  let best: Enclosing | undefined;
  for (const enclosure of candidates()) {
    try {
      const missing = await missingWalls(enclosure);
      if (missing.length === 0) return { enclosure, missing, refused };
      refused.push(`${enclosure.name}: without ${missing.join(", ")}`);
      if (best === undefined || missing.length < best.missing.length) best = { enclosure, missing, refused };
    } catch (error) {
      refused.push(`${enclosure.name}: ${messageOf(error)}`);
    }
  }
  return best ?? { enclosure: bare, missing: Object.keys(WALLS) as Wall[], refused };
}

let found: Promise<Enclosing> | undefined;

/** The best enclosure of this machine; tried once per process. */
export function enclosingHere(): Promise<Enclosing> {
  return (found ??= detect());
}

/** What a reader of the results must know: one sentence per missing wall, none where all stand. */
export function wallNotes(enclosing: Enclosing): string[] {
  return enclosing.missing.map((wall) => `not walled: ${wall} (it does not hold here that ${WALLS[wall]})`);
}

/**
 * The enclosure, if it may be used: all walls stand, or the caller takes the risk.
 * @throws FedtuneError("resources") naming the missing walls and what was tried
 */
export function allowed(enclosing: Enclosing, options: { readonly unsafe: boolean }): Enclosure {
  if (enclosing.missing.length === 0 || options.unsafe) return enclosing.enclosure;
  throw new FedtuneError("resources", {
    where: "running generated code",
    expected: "a system that keeps it apart (Linux namespaces by `unshare` of util-linux, or `bwrap`)",
    got: `no wall for ${enclosing.missing.join(", ")}${enclosing.refused.length === 0 ? "" : ` (${enclosing.refused.join("; ")})`}`,
    remedy: "Install bubblewrap or allow user namespaces; or, on a machine that holds nothing of worth, set `unsafe: true`",
    details: { missing: enclosing.missing, refused: enclosing.refused },
  });
}
