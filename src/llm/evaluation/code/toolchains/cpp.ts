/** The C++ compiler of GNU. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { cachedFile } from "../../../../core/store/cache.ts";
import { ask, COMPILE, finding, RUN, type Toolchain } from "./toolchain.ts";

/** Options that the headers compiled ahead and every program must share. */
const LANGUAGE = ["-std=c++17", "-w", "-pthread"];
const PRELUDE = "prelude.hpp";

/** Compiles the headers that every program begins with, once per version: that is over half of a program's compilation. */
function compilePrelude(compiler: string, version: string, signal: AbortSignal | undefined): Promise<string> {
  const headers = readFileSync(join(STAND_INS, PRELUDE), "utf8");
  return cachedFile(`cpp prelude 1 ${compiler} ${version} ${headers}`, async (folder) => {
    mkdirSync(folder);
    writeFileSync(join(folder, PRELUDE), headers);
    await ask(compiler, [...LANGUAGE, "-x", "c++-header", PRELUDE, "-o", `${PRELUDE}.gch`], { cwd: folder, ...(signal && { signal }) });
  });
}

/** Headers of ours, looked at after the system's own: `boost/any.hpp` and `openssl/md5.h`. */
const STAND_INS = fileURLToPath(new URL("../libraries/cpp", import.meta.url));

async function compiles(compiler: string, text: string, options: readonly string[]): Promise<boolean> {
  const folder = mkdtempSync(join(tmpdir(), "fedtune-cpp-"));
  try {
    writeFileSync(join(folder, "probe.cpp"), text);
    await ask(compiler, ["probe.cpp", "-o", "probe", ...options], { cwd: folder });
    return true;
  } catch {
    return false;
  } finally {
    rmSync(folder, { recursive: true });
  }
}

export const cpp: Toolchain = {
  title: "C++",
  find: ({ signal }) =>
    finding("g++", async (compiler) => {
      const version = await ask(compiler, ["-dumpfullversion"], { ...(signal && { signal }) });
      if (!(await compiles(compiler, "#include <vector>\nint main() { return 0; }\n", ["-std=c++17"]))) throw new Error("it does not compile an empty program (are the headers installed?)");
      const openssl = await compiles(compiler, "#include <openssl/md5.h>\nint main() { return MD5(nullptr, 0, nullptr) == nullptr; }\n", ["-lcrypto"]);
      const boost = await compiles(compiler, "#include <boost/any.hpp>\nint main() { return 0; }\n", []);
      const prelude = await compilePrelude(compiler, version, signal);
      return {
        version: `g++ ${version}`,
        notes: [...(openssl ? [] : ["openssl/md5.h is a stand-in: MD5 alone"]), ...(boost ? [] : ["boost/any.hpp is a stand-in over std::any"])],
        program: (source) =>
          Promise.resolve({
            files: { "main.cpp": source },
            phases: [
              { ...COMPILE, command: [compiler, ...LANGUAGE, "-fmax-errors=5", "-include", join(prelude, PRELUDE), "-idirafter", STAND_INS, "main.cpp", "-o", "main", ...(openssl ? ["-lcrypto"] : [])] },
              { ...RUN, command: ["./main"] },
            ],
            visible: [compiler.startsWith("/usr/") ? "/usr" : dirname(dirname(compiler)), STAND_INS, prelude],
          }),
      };
    }),
};
