/** Rust: rustc, with the crates that HumanEval-X names. */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { cachedFile } from "../../../../core/store/cache.ts";
import { ask, COMPILE, finding, RUN, type Toolchain } from "./toolchain.ts";

/** Crates of ours, each in one file. */
const STAND_INS = ["md5", "rand", "regex"] as const;

/** Compiles the crates once per version; a change of ours makes them anew. */
function compileCrates(rustc: string, version: string): Promise<string> {
  const sources = STAND_INS.map((name) => readFileSync(new URL(`../libraries/rust/${name}.rs`, import.meta.url), "utf8"));
  return cachedFile(`rust crates 1 ${version} ${sources.join("\n")}`, async (folder) => {
    mkdirSync(folder);
    for (const [i, name] of STAND_INS.entries()) {
      const file = join(folder, `${name}.rs`);
      writeFileSync(file, sources[i] ?? "");
      await ask(rustc, ["--edition", "2021", "--crate-type", "rlib", "--crate-name", name, "-C", "debuginfo=0", "--out-dir", folder, file]);
    }
  });
}

export const rust: Toolchain = {
  title: "Rust",
  find: ({ signal }) =>
    finding("rustc", async (path) => {
      // Behind a version manager's shim lies the toolchain itself, which needs nothing of the home folder.
      const sysroot = await ask(path, ["--print", "sysroot"], { ...(signal && { signal }) });
      const rustc = join(sysroot, "bin", "rustc");
      const version = await ask(rustc, ["--version"], { ...(signal && { signal }) });
      const crates = await compileCrates(rustc, version);
      const externs = STAND_INS.flatMap((name) => ["--extern", `${name}=${join(crates, `lib${name}.rlib`)}`]);
      return {
        version,
        notes: ["the crates rand (0.4) and md5 are stand-ins, and regex is not there: programs that use it are left out"],
        lacks: (source) => (/\bRegex(?:Builder|Set)?::|\bregex::(?!Regex;)/.test(source) ? "the crate regex is not installed" : undefined),
        program: (source) =>
          Promise.resolve({
            files: { "main.rs": source },
            phases: [
              { ...COMPILE, command: [rustc, "--edition", "2021", "--test", "--cap-lints", "allow", "-C", "debuginfo=0", ...externs, "-o", "main", "main.rs"] },
              { ...RUN, command: ["./main", "--test-threads=1"] },
            ],
            visible: [sysroot, crates],
          }),
      };
    }),
};
