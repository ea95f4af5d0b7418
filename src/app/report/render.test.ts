import { expect, test } from "vitest";
import { exampleMatrix, exampleRecord } from "./example-run.fixture.ts";
import { renderReport } from "./render.ts";

const page = renderReport([exampleRecord()]);

test("a report loads nothing and runs nothing", () => {
  const links = [...page.matchAll(/(?:src|href|url\()\s*=?\s*["']?([^"')\s>]+)/g)].map((m) => m[1]).filter((target) => !target?.startsWith("#"));
  expect(links.filter((target) => !target?.startsWith("data:"))).toEqual([]);
  expect(page).not.toMatch(/<(script|link|iframe|img|object|embed)\b|@import|\son\w+=/i);
});

test("text from data, names and config is escaped everywhere, inside drawings too", () => {
  expect(page).not.toContain("<script>alert");
  expect(page).toContain("&lt;script&gt;alert(1)&lt;/script&gt;");
  expect(page).not.toMatch(/client-9 <b>/);
  expect(page).toContain("# &lt;not a tag&gt;");
});

test("markup is balanced, drawings included", () => {
  const open: string[] = [];
  for (const [, closing, name, selfClosed] of page.matchAll(/<(\/?)([a-z][a-z0-9]*)\b[^>]*?(\/?)>/gi)) {
    if (selfClosed === "/" || ["meta", "br"].includes(name ?? "")) continue;
    if (closing === "/") expect(open.pop()).toBe(name);
    else open.push(name ?? "");
  }
  expect(open).toEqual([]);
});

test("ids inside the page are unique, and the same run gives the same bytes again", () => {
  const ids = [...page.matchAll(/\sid="([^"]+)"/g)].map((m) => m[1]);
  expect(new Set(ids).size).toBe(ids.length);
  expect(renderReport([exampleRecord()])).toBe(page);
});

test("the parts of a report are there: table, charts, samples, troubles, config, versions", () => {
  for (const part of ["Perplexity on held-out rows", "Loss per round", "Who holds what", "What travelled", "What averaging the factors loses", "Text before and after", "Config and versions", "24.21.0", "left out 1 of 8 steps", "expected 310 MB of memory"]) {
    expect(page).toContain(part);
  }
  expect(page.match(/<figure/g)).toHaveLength(5);
});

test.each([0, 0.0001, 0.02, 0.1, 0.5, 0.99])("a run that stopped after %d of its events still has a report", (until) => {
  expect(renderReport([exampleRecord({ until })])).toContain("</html>");
});

test("a run's benchmarks stand in its report with their intervals", () => {
  expect(page).not.toContain("<h3>Benchmarks</h3>");
  expect(renderReport([exampleRecord({ benchmarks: true })])).toMatch(/<h3>Benchmarks<\/h3>[\s\S]*gsm8k<small>accuracy, 200 questions<\/small>[\s\S]*10 clients, \d+\.\d to \d+\.\d %/);
});

test("many runs are tables, charts and a list with links, without the charts of each", () => {
  const matrix = renderReport(exampleMatrix().map((run) => ({ ...run, link: `there/${run.name}` })));
  for (const part of ["36 runs: 2 federations, 3 methods, 3 seeds, 2 benchmarks.", "Validation loss per round, federated", "What a round of the federation takes", "Does the validation loss tell which adapter is best?", "Who holds what", `<a href="there/gsm8k-3-lora-2-federated">`]) expect(matrix).toContain(part);
  expect(matrix).not.toContain("<h2>");
  // Curves and scatters of two federations under two benchmarks, and four partitions.
  expect(matrix.match(/<figure/g)).toHaveLength(2 + 4 + 4);
  expect(matrix.length).toBeLessThan(400_000);
});

test("several runs stand in one comparison with each run below it", () => {
  const both = renderReport(["first", "second"].map((folder) => exampleRecord({ folder })));
  expect(both).toContain("2 runs compared");
  expect(both).toMatch(/<h2>first<\/h2>[\s\S]*<h2>second<\/h2>/);
});
