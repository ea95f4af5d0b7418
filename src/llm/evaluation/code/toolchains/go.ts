/**
 * Go. The compiler and linker are called directly, on packages of the standard library that were compiled once and kept: a tenth
 * of the time of `go build`, and no build cache that a program could write to. `go vet` is not run.
 */
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { cacheFolder, cachedFile } from "../../../../core/store/cache.ts";
import { ask, COMPILE, finding, RUN, type Toolchain } from "./toolchain.ts";

/** What programs of a benchmark mostly import; others are compiled when a program asks for them. */
const USUAL =
  "bufio bytes cmp container/heap container/list crypto/md5 encoding/hex errors fmt maps math math/big math/bits math/rand os reflect regexp slices sort strconv strings testing time unicode unicode/utf8".split(" ");

/** Ours, under the name of the real one. */
const ASSERT = "github.com/stretchr/testify/assert";
const ASSERT_SOURCE = new URL("../libraries/go/assert.go", import.meta.url);

/** A package of the standard library by the look of its path: no dot in the first part, and not C. */
const STANDARD = /^[a-z][a-z0-9]*(?:\/[a-z0-9_]+)*$/;

interface Go {
  readonly path: string;
  readonly version: string;
  /** Folder of `compile` and `link`. */
  readonly tools: string;
  readonly signal: AbortSignal | undefined;
}

function environment(): NodeJS.ProcessEnv {
  const fixed = { CGO_ENABLED: "0", GOTOOLCHAIN: "local", GOPROXY: "off", GOFLAGS: "", GOWORK: "off", GO111MODULE: "on" };
  return { PATH: process.env["PATH"], HOME: process.env["HOME"], GOCACHE: join(cacheFolder(), "go-build"), ...fixed };
}

/** The import paths of a source text's own import lines. */
function importsOf(source: string): string[] {
  const blocks = [...source.matchAll(/^import\s*\(([^)]*)\)/gm)].map((match) => match[1] ?? "");
  const single = [...source.matchAll(/^import\s+(?:[\w.]+\s+)?("[^"]+")/gm)].map((match) => match[1] ?? "");
  return [...new Set([...blocks, ...single].flatMap((text) => [...text.matchAll(/"([^"]+)"/g)].map((match) => match[1] ?? "")))];
}

/** Compiles packages with all that they rest on into a folder of its own: `NAME.a` files and `importcfg`, which names them. */
function compilePackages(go: Go, packages: readonly string[]): Promise<string> {
  return cachedFile(`go packages 2 ${go.version} ${packages.join(" ")}`, async (folder) => {
    mkdirSync(folder);
    const module = mkdtempSync(join(tmpdir(), "fedtune-go-"));
    try {
      writeFileSync(join(module, "go.mod"), "module program\n");
      const format = "{{if .Export}}{{.ImportPath}}={{.Export}}{{end}}";
      const listed = await ask(go.path, ["list", "-export", "-deps", "-f", format, ...packages], { cwd: module, env: environment(), ...(go.signal && { signal: go.signal }) });
      const lines = listed.split("\n").filter((line) => line.includes("="));
      const names = lines.map((line) => line.slice(0, line.indexOf("=")));
      names.forEach((name, i) => copyFileSync(lines[i]?.slice(name.length + 1) ?? "", join(folder, fileOf(name))));
      writeFileSync(join(folder, "packages"), names.join("\n"));
    } finally {
      rmSync(module, { recursive: true });
    }
  });
}

function fileOf(name: string): string {
  return `${name.replaceAll("/", "_")}.a`;
}

/** Lines of an import configuration for the packages of a folder. */
function configurationOf(folder: string): Map<string, string> {
  const names = readFileSync(join(folder, "packages"), "utf8").split("\n");
  return new Map(names.map((name) => [name, `packagefile ${name}=${join(folder, fileOf(name))}`]));
}

/** The stand-in for testify, compiled against the usual packages. */
function compileAssert(go: Go, usual: string): Promise<string> {
  const source = readFileSync(ASSERT_SOURCE, "utf8");
  return cachedFile(`go assert 1 ${go.version} ${usual} ${source}`, async (path) => {
    const folder = mkdtempSync(join(tmpdir(), "fedtune-go-"));
    try {
      writeFileSync(join(folder, "assert.go"), source);
      writeFileSync(join(folder, "importcfg"), [...configurationOf(usual).values()].join("\n"));
      await ask(join(go.tools, "compile"), ["-p", ASSERT, "-importcfg", "importcfg", "-o", path, "assert.go"], { cwd: folder });
    } finally {
      rmSync(folder, { recursive: true });
    }
  }, { extension: ".a" });
}

export const go: Toolchain = {
  title: "Go",
  find: ({ signal }) =>
    finding("go", async (path) => {
      const asked = await ask(path, ["env", "GOVERSION", "GOROOT", "GOTOOLDIR"], { env: environment(), cwd: tmpdir(), ...(signal && { signal }) });
      const [version = "", , tools = ""] = asked.split("\n");
      const found: Go = { path, version, tools, signal };
      const usual = await compilePackages(found, USUAL);
      const assert = await compileAssert(found, usual);
      const known = configurationOf(usual).set(ASSERT, `packagefile ${ASSERT}=${assert}`);
      return {
        version,
        notes: [`${ASSERT} is a stand-in: its usual assertions`],
        async program(source) {
          const folders = [usual];
          const packages = new Map(known);
          for (const name of importsOf(source)) {
            if (packages.has(name) || !STANDARD.test(name) || name === "unsafe") continue;
            // No package of that name: the compiler will say so.
            const more = await compilePackages(found, [name]).catch(() => undefined);
            if (more === undefined) continue;
            folders.push(more);
            for (const [dependency, line] of configurationOf(more)) if (!packages.has(dependency)) packages.set(dependency, line);
          }
          const files = { "main.go": source, importcfg: [...packages.values()].join("\n") };
          return {
            files,
            phases: [
              { ...COMPILE, command: [join(tools, "compile"), "-p", "main", "-importcfg", "importcfg", "-o", "main.a", "main.go"] },
              { ...COMPILE, name: "link", command: [join(tools, "link"), "-importcfg", "importcfg", "-s", "-w", "-o", "main", "main.a"] },
              { ...RUN, command: ["./main"] },
            ],
            visible: [tools, assert, ...folders],
          };
        },
      };
    }),
};
