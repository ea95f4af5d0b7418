/** The Java development kit: javac and java, one compilation and one run per program. */
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { cachedFile } from "../../../../core/store/cache.ts";
import { ask, COMPILE, finding, realPath, RUN, type Toolchain } from "./toolchain.ts";

/** Quick to start rather than quick in the long run; a heap well below the memory limit. */
const QUICK = ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xshare:auto", "-Xmx512m"];

/** No annotation processors: compiling runs no code of the program. */
const JAVAC = ["-proc:none", "-g:none", "-encoding", "UTF-8", "-nowarn", "-d", "out"];

const WARM = "import java.util.*;\nimport java.util.stream.*;\nclass Solution { List<Integer> f(List<Integer> a) { return a.stream().map(x -> x + 1).collect(Collectors.toList()); } }\n";

/** An archive of the compiler's loaded classes, made once per version: javac then starts in two thirds of the time. */
function compilerArchive(javac: string, version: string, signal: AbortSignal | undefined): Promise<string> {
  return cachedFile(`javac class archive 1 ${version} ${javac}`, async (path) => {
    const folder = mkdtempSync(join(tmpdir(), "fedtune-javac-"));
    try {
      writeFileSync(join(folder, "Warm.java"), WARM);
      await ask(javac, [`-J-XX:ArchiveClassesAtExit=${path}`, ...QUICK.map((flag) => `-J${flag}`), ...JAVAC, "Warm.java"], { cwd: folder, ...(signal && { signal }) });
    } finally {
      rmSync(folder, { recursive: true });
    }
  }, { extension: ".jsa" });
}

/** Debian keeps a kit's configuration outside of it. */
function configurationFolders(): string[] {
  return existsSync("/etc") ? readdirSync("/etc").filter((name) => name.startsWith("java")).map((name) => join("/etc", name)) : [];
}

export const java: Toolchain = {
  title: "Java",
  find: ({ signal }) =>
    finding("javac", async (path) => {
      const javac = realPath(path);
      const home = dirname(dirname(javac));
      const version = await ask(javac, ["-version"], { ...(signal && { signal }) });
      const archive = await compilerArchive(javac, version, signal);
      return {
        version,
        notes: [],
        program: (source) =>
          Promise.resolve({
            files: { "Main.java": source },
            phases: [
              { ...COMPILE, command: [javac, `-J-XX:SharedArchiveFile=${archive}`, ...QUICK.map((flag) => `-J${flag}`), ...JAVAC, "Main.java"] },
              { ...RUN, command: [join(home, "bin", "java"), ...QUICK, "-Xss16m", "-XX:-UsePerfData", "-cp", "out", "Main"] },
            ],
            visible: [home, archive, ...configurationFolders()],
          }),
      };
    }),
};
