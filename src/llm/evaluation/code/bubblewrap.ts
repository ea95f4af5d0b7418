/** The enclosure of `bwrap`, for systems that let it make namespaces but not an ordinary user's `unshare`. */
import { existsSync, lstatSync, readlinkSync } from "node:fs";
import { SCRATCH, SYSTEM_FILES, SYSTEM_FOLDERS, type Enclosure } from "./enclosure.ts";
import { withoutNested } from "./namespaces.ts";
import { DROP_CAPABILITIES, phaseScript } from "./phases.ts";

/** Where the program's files are seen until they are copied. */
const INPUT = "/input";

function bind(path: string): string[] {
  if (!existsSync(path)) return [];
  return lstatSync(path).isSymbolicLink() ? ["--symlink", readlinkSync(path), path] : ["--ro-bind", path, path];
}

/** Everything by namespaces, as `namespaces.ts` does it. */
export const bubblewrap: Enclosure = {
  name: "bubblewrap",
  walls: ["files", "network", "processes", "privileges", "disk"],
  scratch: () => SCRATCH,
  command(enclosed) {
    const { limits, environment, phases } = enclosed;
    const script = phaseScript(phases, { limits, environment, before: DROP_CAPABILITIES.filter((word) => !word.startsWith("--bounding-set")) });
    const bound = withoutNested([...SYSTEM_FOLDERS, ...SYSTEM_FILES, ...enclosed.visible]).flatMap(bind);
    const spaces = ["--unshare-all", "--unshare-user", "--disable-userns", "--die-with-parent", "--new-session", "--cap-drop", "ALL", "--uid", "1000", "--gid", "1000"];
    const kernel = ["--dev", "/dev", "--remount-ro", "/dev", "--proc", "/proc", "--ro-bind", enclosed.input, INPUT];
    // A link cannot stand where something visible has made a folder; TMPDIR names another in any case.
    const temporary = enclosed.visible.some((path) => path.startsWith("/tmp/")) ? [] : ["--symlink", `${SCRATCH.slice(1)}/.tmp`, "/tmp"];
    const scratch = ["--size", String(limits.diskBytes), "--tmpfs", SCRATCH, ...temporary, "--remount-ro", "/", "--chdir", SCRATCH];
    return ["bwrap", ...spaces, ...bound, ...kernel, ...scratch, "sh", "-c", `cp -R ${INPUT}/. . && mkdir -p .tmp || exit 1\n${script}`];
  },
};
