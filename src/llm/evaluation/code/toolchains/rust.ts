/** Rust: rustc, with the crates that HumanEval-X names. */
import { join } from "node:path";
import { findCrates } from "./rust-crates.ts";
import { ask, COMPILE, finding, RUN, type Toolchain } from "./toolchain.ts";

/** Uses of the crate regex beyond its `use` line. */
const USES_REGEX = /\bRegex(?:Builder|Set)?::|\bregex::(?!Regex;)/;

export const rust: Toolchain = {
  title: "Rust",
  find: ({ signal, fetch = false }) =>
    finding("rustc", async (path) => {
      // Behind a version manager's shim lies the toolchain itself, which needs nothing of the home folder.
      const sysroot = await ask(path, ["--print", "sysroot"], { ...(signal && { signal }) });
      const rustc = join(sysroot, "bin", "rustc");
      const version = await ask(rustc, ["--version"], { ...(signal && { signal }) });
      const crates = await findCrates(sysroot, { version, fetch, signal });
      return {
        version,
        notes: crates.real ? [] : ["the crates rand (0.4) and md5 are stand-ins, and regex is not there: programs that use it are left out (fetch=true lets cargo download all three)"],
        ...(!crates.real && { lacks: (source: string) => (USES_REGEX.test(source) ? "the crate regex is not installed (fetch=true lets cargo download it)" : undefined) }),
        program: (source) =>
          Promise.resolve({
            files: { "main.rs": source },
            phases: [
              { ...COMPILE, command: [rustc, "--edition", "2021", "--test", "--cap-lints", "allow", "-C", "debuginfo=0", ...crates.options, "-o", "main", "main.rs"] },
              { ...RUN, command: ["./main", "--test-threads=1"] },
            ],
            visible: [sysroot, crates.folder],
          }),
      };
    }),
};
