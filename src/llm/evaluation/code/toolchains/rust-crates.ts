/** The crates that HumanEval-X's Rust programs name: the real ones where cargo was let download them once, else stand-ins. */
import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { FedtuneError, messageOf } from "../../../../core/base/errors.ts";
import { cachedFile } from "../../../../core/store/cache.ts";
import { ask } from "./toolchain.ts";

const NAMES = ["md5", "rand", "regex"] as const;

const library = (name: string): URL => new URL(`../libraries/rust/${name}`, import.meta.url);
const read = (name: string): string => readFileSync(library(name), "utf8");

export interface Crates {
  /** Options of rustc that make them known. */
  readonly options: readonly string[];
  readonly folder: string;
  readonly real: boolean;
}

export interface CratesOptions {
  readonly version: string;
  /** Whether cargo may download the real ones where they are not there yet. */
  readonly fetch: boolean;
  readonly signal: AbortSignal | undefined;
}

function optionsOf(folder: string): string[] {
  const files = readdirSync(folder).filter((file) => file.endsWith(".rlib"));
  const externs = NAMES.flatMap((name) => files.filter((file) => new RegExp(`^lib${name}(-|\\.rlib)`).test(file)).map((file) => `${name}=${join(folder, file)}`));
  return [...externs.flatMap((extern) => ["--extern", extern]), "-L", `dependency=${folder}`];
}

/** Builds the pinned crates by cargo, through whatever registry it is set up for. */
async function build(cargo: string, folder: string, signal: AbortSignal | undefined): Promise<void> {
  const work = mkdtempSync(join(tmpdir(), "fedtune-crates-"));
  try {
    for (const name of ["Cargo.toml", "Cargo.lock"]) writeFileSync(join(work, name), read(name));
    mkdirSync(join(work, "src"));
    writeFileSync(join(work, "src", "lib.rs"), "");
    await ask(cargo, ["build", "--locked", "--quiet"], { cwd: work, env: { ...process.env, CARGO_TARGET_DIR: join(work, "target") }, ...(signal && { signal }) });
    mkdirSync(folder);
    const built = join(work, "target", "debug", "deps");
    for (const file of readdirSync(built)) if (file.endsWith(".rlib")) copyFileSync(join(built, file), join(folder, file));
  } catch (error) {
    throw new FedtuneError("resources", { where: "the crates rand, regex and md5", expected: "cargo to build them", got: messageOf(error).split("\n").slice(0, 4).join(" "), remedy: "Look at cargo's registry settings, or leave out `fetch`", cause: error });
  } finally {
    rmSync(work, { recursive: true });
  }
}

/** The real crates, if they are there or may be fetched. */
async function realCrates(sysroot: string, { version, fetch, signal }: CratesOptions): Promise<string | undefined> {
  const absent = new Error("not fetched");
  try {
    return await cachedFile(`rust crates by cargo 1 ${version} ${read("Cargo.lock")}`, async (folder) => {
      if (!fetch) throw absent;
      await build(join(sysroot, "bin", "cargo"), folder, signal);
    });
  } catch (error) {
    if (error === absent) return undefined;
    throw error;
  }
}

/** Compiles the stand-ins once per version; a change of ours makes them anew. */
function standIns(sysroot: string, { version, signal }: CratesOptions): Promise<string> {
  const sources = NAMES.map((name) => read(`${name}.rs`));
  return cachedFile(`rust crates 1 ${version} ${sources.join("\n")}`, async (folder) => {
    mkdirSync(folder);
    for (const [i, name] of NAMES.entries()) {
      const file = join(folder, `${name}.rs`);
      writeFileSync(file, sources[i] ?? "");
      await ask(join(sysroot, "bin", "rustc"), ["--edition", "2021", "--crate-type", "rlib", "--crate-name", name, "-C", "debuginfo=0", "--out-dir", folder, file], { ...(signal && { signal }) });
    }
  });
}

/** The crates for one toolchain. Throws FedtuneError("resources") where they were to be fetched and cargo fails. */
export async function findCrates(sysroot: string, options: CratesOptions): Promise<Crates> {
  const real = await realCrates(sysroot, options);
  const folder = real ?? (await standIns(sysroot, options));
  return { options: optionsOf(folder), folder, real: real !== undefined };
}
