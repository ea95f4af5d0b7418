import { describe, expect, it } from "vitest";
import { checkLayers } from "./check.ts";

const check = (files: Record<string, string>): readonly string[] => checkLayers(new Map(Object.entries(files)));
const base = { "core/base/tensor.ts": "export const x = 2;" };

describe("layers", () => {
  it("allow what a folder's row names, and its own files", () => {
    expect(check({ ...base, "core/formats/a.ts": `import { x } from "../base/tensor.ts"; import "./b.ts";`, "core/formats/b.ts": "export {};" })).toEqual([]);
  });

  const upward = { "core/formats/a.ts": "export const a = 1;", "llm/text/t.ts": "export const t = 1; export type T = 1;" };
  it.each([
    ["a static import", `import { t } from "../../llm/text/t.ts";`],
    ["a type-only import", `import type { T } from "../../llm/text/t.ts";`],
    ["a type named inline", `export type U = import("../../llm/text/t.ts").T;`],
    ["a dynamic import", `export const t = () => import("../../llm/text/t.ts");`],
    ["a re-export", `export * from "../../llm/text/t.ts";`],
    ["a named re-export", `export { t } from "../../llm/text/t.ts";`],
    ["a worker's file", `export const w = new URL("../../llm/text/t.ts", import.meta.url);`],
    ["a worker's file with a computed ending", "export const w = new URL(`../../llm/text/t${ending}`, import.meta.url);"],
  ])("refuse %s of a higher layer, naming file and line", (_kind, line) => {
    const found = check({ ...upward, "core/base/b.ts": `// first line\n${line}` });
    expect(found).toHaveLength(1);
    expect(found[0]).toMatch(/^core\/base\/b\.ts:2: expected imports of core\/base\/, got llm\/text\/t\.ts/);
  });

  it("let adapters see what every architecture declares, and no architecture by name", () => {
    const files = { "llm/architectures/architecture.ts": "export {};", "llm/architectures/llama.ts": "export {};" };
    expect(check({ ...files, "llm/adapters/lora.ts": `import "../architectures/architecture.ts";` })).toEqual([]);
    expect(check({ ...files, "llm/adapters/lora.ts": `import "../architectures/llama.ts";` })).toHaveLength(1);
  });

  it("refuse a barrel to everyone but the app", () => {
    const files = { "core/index.ts": `export * from "./base/tensor.ts";`, ...base };
    expect(check({ ...files, "app/cli/run.ts": `import { x } from "../../core/index.ts";` })).toEqual([]);
    expect(check({ ...files, "llm/text/t.ts": `import { x } from "../../core/index.ts";` })).toHaveLength(1);
  });

  it("refuse the app anything but barrels", () => {
    expect(check({ ...base, "app/cli/run.ts": `import { x } from "../../core/base/tensor.ts";` })).toHaveLength(1);
  });

  it("refuse code in a barrel", () => {
    expect(check({ "index.ts": "export const x = 1;" })).toEqual([expect.stringContaining("re-exports and nothing else")]);
  });

  it("refuse a folder without a row", () => {
    expect(check({ "llm/magic/a.ts": "export {};" })).toEqual([expect.stringContaining("Add its row")]);
  });

  it("find a cycle inside a folder, through types too", () => {
    const found = check({
      "core/base/a.ts": `import "./b.ts";`,
      "core/base/b.ts": `import type { C } from "./c.ts";`,
      "core/base/c.ts": `export * from "./a.ts";`,
      "core/base/d.ts": `import "./a.ts";`,
    });
    expect(found).toHaveLength(1);
    expect(found[0]).toContain("expected no cycle");
    expect(found[0]).not.toContain("d.ts");
  });

  it("leave test files free", () => {
    expect(check({ ...upward, "core/base/b.test.ts": `import "../../llm/text/t.ts";` })).toEqual([]);
  });
});
