/** Hostile programs, each stopped and counted as what it is; the next one runs as if nothing had been. */
import { spawn, spawnSync } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { bare } from "./bare.ts";
import { bubblewrap } from "./bubblewrap.ts";
import type { Enclosure } from "./enclosure.ts";
import { rootNamespaces, rootNamespacesWithoutUser, userNamespaces } from "./namespaces.ts";
import type { RunResult } from "./outcome.ts";
import type { Phase } from "./phases.ts";
import { runApart, type RunOptions } from "./sandbox.ts";
import { enclosingHere, missingWalls } from "./walls.ts";

const node = realpathSync(process.execPath);
const { enclosure: best, missing, refused } = await enclosingHere();
const walled = missing.length === 0;
const unwalled = `skipped where a wall is missing${walled ? "" : `: ${missing.join(", ")} (${refused.join("; ")})`}`;

/** Small, so that each test is short. */
const LIMITS = { memoryBytes: 2 ** 30, processes: 40, diskBytes: 2 ** 25, fileBytes: 2 ** 24, outputBytes: 2 ** 22 };

function sh(script: string, limits: Partial<Phase> = {}): Phase {
  return { name: "run", command: ["/bin/sh", "-c", script], wallMs: 20_000, cpuSeconds: 5, ...limits };
}

function js(script: string, limits: Partial<Phase> = {}): Phase {
  return { name: "run", command: [node, "-e", script], wallMs: 20_000, cpuSeconds: 10, ...limits };
}

function run(phase: Phase, options: Partial<RunOptions> = {}): Promise<RunResult> {
  return runApart({ files: { "own.txt": "mine" }, phases: [phase], visible: [node] }, { enclosure: best, limits: LIMITS, ...options });
}

/** Processes of this machine whose command line holds a word. */
function processesWith(word: string): string[] {
  return readdirSync("/proc").filter((pid) => {
    try {
      return /^\d+$/.test(pid) && Number(pid) !== process.pid && readFileSync(`/proc/${pid}/cmdline`, "latin1").includes(word);
    } catch {
      return false;
    }
  });
}

async function until(condition: () => boolean): Promise<void> {
  const end = performance.now() + 20_000;
  while (!condition()) {
    if (performance.now() > end) throw new Error("waited for 20 s in vain");
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

const ways: readonly (readonly [string, Enclosure])[] = [...(walled ? [[best.name, best] as const] : []), ["no enclosure", bare]];

describe.runIf(process.platform === "linux").each(ways)("under %s", (_name, enclosure) => {
  test("a harmless program passes, finds its files and is given back what it prints", async () => {
    const result = await run(sh("cat own.txt; echo told >&2"), { enclosure });
    expect(result).toMatchObject({ outcome: "passed", status: 0, stdout: "mine", stderr: "told\n" });
  });

  test("a failing program has failed, with its exit status", async () => {
    expect(await run(sh("exit 3"), { enclosure })).toMatchObject({ outcome: "failed", status: 3 });
  });

  test("an earlier phase that fails is a compile error, and the later one does not run", async () => {
    const phases = [{ ...sh("echo no >&2; exit 1"), name: "compile" }, sh("echo ran")];
    expect(await runApart({ files: {}, phases }, { enclosure })).toMatchObject({ outcome: "compile-error", phase: "compile", stdout: "" });
  });

  test("a loop without end runs out of processor time", async () => {
    expect(await run(sh("while :; do :; done", { cpuSeconds: 1 }), { enclosure })).toMatchObject({ outcome: "timed-out" });
  });

  test("a program that waits and ignores every signal runs out of wall time", async () => {
    expect(await run(sh("trap '' TERM INT HUP QUIT; while :; do sleep 1; done", { wallMs: 500 }), { enclosure })).toMatchObject({ outcome: "timed-out" });
  });

  test("a file that grows without end meets the limit", async () => {
    expect(await run(sh("cat /dev/zero > big"), { enclosure })).toMatchObject({ outcome: "disk" });
  });

  test("many files meet the limit of all together", async () => {
    const result = await run(sh("i=0; while :; do head -c 4000000 /dev/zero > f$i || exit 1; i=$((i+1)); done"), { enclosure });
    expect(result.outcome).toBe("disk");
  });

  test("a program that takes all memory is stopped", async () => {
    const result = await run(js("const all = []; for (;;) all.push(Buffer.alloc(2 ** 24, 1))"), { enclosure });
    expect(result.outcome).toBe("memory");
  });

  test("a program that prints without end is stopped, and the ends of what it said are kept", async () => {
    const result = await run(sh("echo first; exec yes"), { enclosure });
    expect(result.outcome).toBe("output");
    expect(result.stdout).toMatch(/^first\ny\n/);
    expect(result.stdout.length).toBeLessThan(70_000);
  });

  test("a program that leaves a daemon behind has not passed, and the daemon is gone", async () => {
    const marker = `daemon-${process.pid}-${enclosure.walls.length}`;
    const result = await run(sh(`setsid sh -c 'while :; do sleep 1; done # ${marker}' > /dev/null 2>&1 & sleep 0.5; exit 0`), { enclosure });
    expect(result.outcome).toBe("left-running");
    expect(processesWith(marker)).toEqual([]);
  });

  test("a stop by the caller is an interruption, and nothing lives on", async () => {
    const marker = `stopped-${process.pid}-${enclosure.walls.length}`;
    const controller = new AbortController();
    const running = run(sh(`while :; do sleep 1; done # ${marker}`), { enclosure, signal: controller.signal });
    await until(() => processesWith(marker).length > 0);
    controller.abort();
    await expect(running).rejects.toMatchObject({ code: "interrupted" });
    expect(processesWith(marker)).toEqual([]);
  });
});

describe.runIf(process.platform === "linux").each([userNamespaces, rootNamespaces, rootNamespacesWithoutUser, bubblewrap].filter((way) => way !== best).map((way) => [way.name, way] as const))("the other way, %s, where it starts here", async (_name, enclosure) => {
  const starts = await run(sh("true"), { enclosure }).then(() => true, () => false);

  test.runIf(starts)("tells passing from failing, limits files and leaves nothing running", async () => {
    expect(await run(sh("cat own.txt"), { enclosure })).toMatchObject({ outcome: "passed", stdout: "mine" });
    expect(await run(sh("exit 3"), { enclosure })).toMatchObject({ outcome: "failed", status: 3 });
    expect(await run(sh("while :; do :; done", { cpuSeconds: 1 }), { enclosure })).toMatchObject({ outcome: "timed-out" });
    expect(await run(sh("cat /dev/zero > big"), { enclosure })).toMatchObject({ outcome: "disk" });
    expect(await run(sh("setsid sh -c 'while :; do sleep 1; done' > /dev/null 2>&1 & sleep 0.5"), { enclosure })).toMatchObject({ outcome: "left-running" });
  });

  test.runIf(starts)("shows what lies below /tmp, read-only, and leaves a place for temporary files", async () => {
    const folder = mkdtempSync("/tmp/fedtune-visible-");
    try {
      chmodSync(folder, 0o755);
      writeFileSync(join(folder, "library"), "shown");
      const phases = [sh(`cat ${folder}/library && ! (: > ${folder}/new) 2>/dev/null && : > "$TMPDIR/mine"`)];
      expect(await runApart({ files: {}, phases, visible: [folder] }, { enclosure, limits: LIMITS })).toMatchObject({ outcome: "passed", stdout: "shown" });
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  test.runIf(starts)("has its walls", async () => {
    // Without a user namespace of its own the program may make one, where the system lets users do that.
    expect((await missingWalls(enclosure)).filter((wall) => enclosure !== rootNamespacesWithoutUser || wall !== "privileges")).toEqual([]);
  });
});

describe.runIf(walled)(`behind all walls (${unwalled})`, () => {
  let folder = "";
  beforeAll(() => {
    folder = mkdtempSync(join(homedir(), ".fedtune-canary-"));
    writeFileSync(join(folder, "secret"), "canary");
    process.env["FEDTUNE_CANARY"] = "canary";
  });
  afterAll(() => {
    rmSync(folder, { recursive: true });
    delete process.env["FEDTUNE_CANARY"];
  });

  test("processes without end are stopped at their number, and nothing lives on", async () => {
    const marker = `bomb-${process.pid}`;
    const result = await run(sh(`bomb() { bomb | bomb & }; bomb; sleep 30 # ${marker}`, { wallMs: 1000 }));
    expect(["timed-out", "failed", "processes"]).toContain(result.outcome);
    expect(processesWith(marker)).toEqual([]);
  });

  test("a file of the user's home folder is not there", async () => {
    const result = await run(sh(`cat ${join(folder, "secret")}`));
    expect(result).toMatchObject({ outcome: "failed", stdout: "" });
    expect(result.stderr).toContain("No such file");
  });

  test("the toolchain can be read and not be written", async () => {
    expect(await run(sh("test -r /usr/bin/env && : > /usr/bin/fedtune-was-here"))).toMatchObject({ outcome: "failed" });
    expect(await run(js(`require("fs").accessSync(${JSON.stringify(node)}, 2)`))).toMatchObject({ outcome: "failed" });
  });

  test("a socket reaches nobody, not even a server of this machine", async () => {
    let heard = 0;
    const server = createServer(() => heard++);
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    try {
      const address = server.address();
      const port = typeof address === "object" && address !== null ? address.port : 0;
      // A connection made is a success, so that a failure means that there is none.
      const result = await run(js(`require("net").connect(${port}, "127.0.0.1").on("connect", () => process.exit(0)).on("error", (e) => { console.error(e.code); process.exit(1); })`));
      expect(result).toMatchObject({ outcome: "failed", status: 1 });
      expect(heard).toBe(0);
    } finally {
      server.close();
    }
  });

  test("its environment and its neighbours' hold nothing of ours", async () => {
    const result = await run(sh("env; cat /proc/*/environ 2>/dev/null; ls /proc"));
    expect(result.stdout).not.toContain("canary");
    expect(result.stdout.split("\n").filter((line) => /^[A-Z_]+=/.test(line)).map((line) => line.slice(0, line.indexOf("="))).filter((name) => !["HOME", "TMPDIR", "LANG", "PATH", "PWD", "OLDPWD", "SHLVL", "_"].includes(name))).toEqual([]);
  });

  test("the memory of several processes counts together", async () => {
    const hold = `'${node}' -e 'globalThis.all = Buffer.alloc(3e8, 1); setTimeout(() => {}, 15000)'`;
    expect(await run(sh(`${hold} & ${hold} & ${hold} & ${hold} & wait`), { limits: { ...LIMITS, processes: 100 } })).toMatchObject({ outcome: "memory" });
  });

  test("a program cannot speak in the harness's name", async () => {
    // Descriptor 3 tells the parent how phases ended; for the program it is closed.
    expect(await run(sh("echo 'status 0' >&3 || exit 4"))).toMatchObject({ outcome: "failed" });
  });

  test("nothing stays of a run in the folder of temporary files, nor of one whose process was killed", async () => {
    const own = mkdtempSync(join(tmpdir(), "fedtune-tmp-"));
    const usual = process.env["TMPDIR"];
    process.env["TMPDIR"] = own;
    try {
      expect((await run(sh("echo x > y; ls"))).stdout).toBe("own.txt\ny\n");
      expect(readdirSync(own)).toEqual([]);
      // A folder of a process that is no more, and one of a process that is.
      const dead = spawnSync("true").pid;
      const next = join(own, "next");
      mkdirSync(next);
      for (const pid of [dead, process.pid]) mkdirSync(join(next, `fedtune-code-${pid}-abc`));
      process.env["TMPDIR"] = next;
      await run(sh("true"));
      expect(readdirSync(next)).toEqual([`fedtune-code-${process.pid}-abc`]);
    } finally {
      if (usual === undefined) delete process.env["TMPDIR"];
      else process.env["TMPDIR"] = usual;
      rmSync(own, { recursive: true });
    }
  });
});

test.runIf(process.platform === "linux").each([...(walled ? ["walls"] : []), "bare"])("when fedtune is killed, its programs die with it: %s", async (way) => {
  const marker = `orphan-${way}-${process.pid}`;
  const parent = spawn(process.execPath, [fileURLToPath(new URL("./orphan.fixture.ts", import.meta.url)), marker, way], { stdio: "ignore" });
  await until(() => processesWith(marker).length > 3);
  parent.kill("SIGKILL");
  await until(() => processesWith(marker).length === 0);
  expect(processesWith(marker)).toEqual([]);
});

describe("an enclosure that does not start", () => {
  test("is an error of ours and no verdict on the program", async () => {
    const broken: Enclosure = { name: "broken", walls: [], scratch: () => "/", command: () => ["sh", "-c", "echo no luck >&2; exit 7"] };
    await expect(run(sh("true"), { enclosure: broken })).rejects.toThrow("exit 7): no luck");
  });

  test("or is not installed", async () => {
    const absent: Enclosure = { name: "absent", walls: [], scratch: () => "/", command: () => ["fedtune-no-such-program"] };
    await expect(run(sh("true"), { enclosure: absent })).rejects.toThrow("ENOENT");
  });
});

const maker = "unshare";
const namespaces = process.platform === "linux" && spawnSync(maker, ["--user", "--map-root-user", "--mount", "--net", "--pid", "--fork", "true"]).status === 0;

test.runIf(namespaces)("where the system lets this user make namespaces, all walls stand", () => {
  expect({ missing, refused }).toEqual({ missing: [], refused: [] });
});
