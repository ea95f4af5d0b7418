/**
 * Enclosures of Linux namespaces, made by util-linux's `unshare`: mount, network, process, IPC and host name, in a user namespace.
 * The program's root is a small read-only file system of its own with the toolchain bound into it read-only; its folder is a
 * memory file system of limited size. Three ways to the same end, because machines differ in what they allow whom.
 */
import { existsSync, lstatSync, readlinkSync } from "node:fs";
import { dirname } from "node:path";
import { DEVICES, SCRATCH, SYSTEM_FILES, SYSTEM_FOLDERS, type Enclosed, type Enclosure } from "./enclosure.ts";
import { commandLine, DROP_CAPABILITIES, phaseScript, quote } from "./phases.ts";

/** Files and folders of a program, so that it cannot use up the kernel's memory by empty files. */
const INODES = 20_000;

/** Users that no account has, one for each running program, so that none meets another's limits or files. */
const FIRST_USER = 61_184;
const USERS = 4_000;
let started = 0;

function nextUser(): number {
  return FIRST_USER + ((process.pid * 7 + started++) % USERS);
}

/** Lines that bind one path of the host into the new root, read-only; symbolic links are copied as such. */
function bindLines(path: string): string[] {
  if (!existsSync(path)) return [];
  const inside = `"$N"${quote(path)}`;
  const parent = `mkdir -p "$N"${quote(dirname(path))}`;
  const status = lstatSync(path);
  if (status.isSymbolicLink()) return [parent, `ln -s ${quote(readlinkSync(path))} ${inside}`];
  const make = status.isDirectory() ? `mkdir -p ${inside}` : `: > ${inside}`;
  return [parent, make, `mount --bind ${quote(path)} ${inside}`, `mount -o remount,bind,ro ${inside}`];
}

/** Paths without those that lie inside another, so that nothing is bound twice. */
export function withoutNested(paths: readonly string[]): string[] {
  const unique = [...new Set(paths)];
  return unique.filter((path) => !unique.some((other) => other !== path && path.startsWith(`${other}/`)));
}

/** Builds the new root below the mount point and enters it; ends in the program's folder. `owner` owns that folder. */
function rootLines(enclosed: Enclosed, owner: number): string[] {
  const { limits } = enclosed;
  return [
    "set -e",
    "PATH=/usr/sbin:/usr/bin:/sbin:/bin",
    "umask 022",
    `N=${quote(enclosed.mountPoint)}`,
    `mount -t tmpfs -o size=4m,mode=755,nosuid root "$N"`,
    ...withoutNested([...SYSTEM_FOLDERS, ...SYSTEM_FILES, ...enclosed.visible]).flatMap(bindLines),
    `mkdir -p "$N/dev" "$N/proc" "$N/old" "$N/etc" "$N${SCRATCH}"`,
    `echo 'program:x:0:0::${SCRATCH}:/bin/sh' > "$N/etc/passwd"`,
    ...DEVICES.flatMap((device) => [`: > "$N/dev/${device}"`, `mount --bind /dev/${device} "$N/dev/${device}"`]),
    `ln -s /proc/self/fd "$N/dev/fd"`,
    // Where something visible lies below /tmp there is such a folder already; TMPDIR names another in any case.
    `[ -e "$N/tmp" ] || ln -s ${SCRATCH.slice(1)}/.tmp "$N/tmp"`,
    // A system that hides parts of its own /proc refuses a new one; toolchains then do without.
    `mount -t proc -o nosuid,nodev,noexec proc "$N/proc" 2>/dev/null || :`,
    `mount -t tmpfs -o size=${limits.diskBytes},nr_inodes=${INODES},mode=700,nosuid,nodev work "$N${SCRATCH}"`,
    `cp -R ${quote(`${enclosed.input}/.`)} "$N${SCRATCH}/"`,
    `mkdir -p "$N${SCRATCH}/.tmp"`,
    ...(owner === 0 ? [] : [`chown -R ${owner}:${owner} "$N${SCRATCH}"`]),
    `cd "$N"`,
    "pivot_root . old",
    "cd /",
    "umount -l /old",
    "rmdir /old",
    "mount -o remount,bind,ro /",
    `cd ${SCRATCH}`,
  ];
}

/** Closes what a user namespace would open again: namespaces within, and memory that no file system counts. */
const CLOSE_DOORS = ["(echo 0 > /proc/sys/user/max_user_namespaces) 2>/dev/null || :", "(echo 0 > /proc/sys/kernel/shmall) 2>/dev/null || :"];

/** Everything dies with its parent, and no signal of a terminal reaches it. */
const TIED = ["setpriv", "--pdeathsig", "KILL", "unshare"];
const SPACES = ["--mount", "--net", "--pid", "--ipc", "--uts", "--fork", "--kill-child=KILL"];

function phasesOf(enclosed: Enclosed, before: readonly string[]): string {
  return phaseScript(enclosed.phases, { limits: enclosed.limits, environment: enclosed.environment, before });
}

const ALL_WALLS = ["files", "network", "processes", "privileges", "disk"] as const;

/** For an ordinary user, who is root only within the user namespace and there without capabilities. */
export const userNamespaces: Enclosure = {
  name: "namespaces of an ordinary user",
  walls: ALL_WALLS,
  scratch: () => SCRATCH,
  command(enclosed) {
    const script = [...rootLines(enclosed, 0), ...CLOSE_DOORS, phasesOf(enclosed, DROP_CAPABILITIES)];
    return [...TIED, "--user", "--map-root-user", ...SPACES, "sh", "-c", script.join("\n")];
  },
};

/**
 * For root: it builds the root (only it may read a toolchain in its own home folder), then the program gets a user of its own
 * that nobody has, in a user namespace. The first process stays root: it holds the tie to the parent, and the program cannot reach it.
 */
export const rootNamespaces: Enclosure = {
  name: "namespaces made by root",
  walls: ALL_WALLS,
  scratch: () => SCRATCH,
  command(enclosed) {
    const user = nextUser();
    const inner = [...CLOSE_DOORS, phasesOf(enclosed, DROP_CAPABILITIES)].join("\n");
    const change = ["setpriv", `--reuid=${user}`, `--regid=${user}`, "--clear-groups", "unshare", "--user", "--map-root-user", "sh", "-c", inner];
    return [...TIED, ...SPACES, "sh", "-c", [...rootLines(enclosed, user), commandLine(change)].join("\n")];
  },
};

/** For root where the system has no user namespaces: the same without one. */
export const rootNamespacesWithoutUser: Enclosure = {
  name: "namespaces made by root, without a user namespace",
  walls: ALL_WALLS,
  scratch: () => SCRATCH,
  command(enclosed) {
    const user = nextUser();
    const change = [...DROP_CAPABILITIES, `--reuid=${user}`, `--regid=${user}`, "--clear-groups", "sh", "-c", phasesOf(enclosed, [])];
    return [...TIED, ...SPACES, "sh", "-c", [...rootLines(enclosed, user), commandLine(change)].join("\n")];
  },
};
