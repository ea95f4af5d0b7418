import { expect, test } from "vitest";
import { collectFacts } from "./facts.ts";
import type { RunEvent } from "./facts.ts";
import { exampleRun } from "./example-run.fixture.ts";
import { writeHeadline } from "./headline.ts";
import { makeResultTable } from "./result-table.ts";

const at = "2026-11-20T09:00:00.000Z";
const evaluated = (scenario: "base" | "federated" | "global" | `local/${number}`, split: "test" | "global-test" | "validation", clients: [number, number, number][]): RunEvent => {
  const rows = clients.map(([client, nll, labelledTokens]) => ({ client, nll, labelledTokens, examples: 3 }));
  const sum = (key: "nll" | "labelledTokens" | "examples"): number => rows.reduce((n, r) => n + r[key], 0);
  return { type: "evaluated", at, scenario, round: 2, split, clients: split === "global-test" ? [] : rows, pooled: { nll: sum("nll"), labelledTokens: sum("labelledTokens"), examples: sum("examples") }, best: false };
};
const started = exampleRun()[0];
if (started?.type !== "run-started") throw new Error("the fixture starts with run-started");
const twoClients: RunEvent = { ...started, clients: started.clients.slice(0, 2) };

test("each cell is exp of summed loss over labelled tokens, and a client alone is judged on its own rows", () => {
  const table = makeResultTable(collectFacts([twoClients, evaluated("federated", "test", [[0, 20, 10], [1, 30, 20]]), evaluated("local/0", "test", [[0, 22, 10]]), evaluated("local/1", "test", [[1, 28, 20]])]));
  expect(table?.rows.map((r) => r.kind)).toEqual(["client", "client", "all-clients"]);
  expect(table?.rows[0]?.perplexity).toEqual({ federated: Math.exp(2), alone: Math.exp(2.2) });
  expect(table?.rows[0]?.best).toBe("federated");
  expect(table?.rows[1]?.best).toBe("alone");
  expect(table?.rows[2]?.perplexity).toEqual({ federated: Math.exp(50 / 30), alone: Math.exp(50 / 30) });
});

test("on the global test the clients alone stand as their average", () => {
  const table = makeResultTable(collectFacts([twoClients, evaluated("local/0", "global-test", [[0, 20, 10]]), evaluated("local/1", "global-test", [[1, 30, 10]])]));
  expect(table?.rows.at(-1)).toMatchObject({ kind: "global-test", perplexity: { alone: Math.exp(2.5) } });
});

test("with a client alone missing there is no figure for all clients alone", () => {
  const table = makeResultTable(collectFacts([twoClients, evaluated("local/0", "test", [[0, 20, 10]])]));
  expect(table?.rows.find((r) => r.kind === "all-clients")?.perplexity.alone).toBeUndefined();
});

test("without test rows validation rows are shown and named so", () => {
  expect(makeResultTable(collectFacts([twoClients, evaluated("base", "validation", [[0, 20, 10]])]))?.split).toBe("validation");
});

test("an evaluation that a resume yields again counts once", () => {
  const once = [...exampleRun()];
  expect(collectFacts([...once, ...once])).toEqual(collectFacts(once));
});

test("examples seen are counted per scenario, failed clients left out", () => {
  const seen = makeResultTable(collectFacts(exampleRun()))?.seen;
  expect(seen).toEqual([{ column: "base", examples: 0 }, { column: "alone", examples: 6400, perClient: [640, 640] }, { column: "pooled", examples: 640 }, { column: "federated", examples: 6400 - 32 }]);
});

test("the headline names what was compared, and an unfinished run says how far it is", () => {
  const facts = collectFacts(exampleRun());
  expect(writeHeadline(facts, makeResultTable(facts))).toMatch(/^20 rounds with 10 clients: perplexity on the global test fell from 23\.57 to 14\.44; clients alone reach \d+\.\d\d on average, all data pooled 13\.39\.$/);
  const half = collectFacts(exampleRun({ until: 0.1 }));
  expect(writeHeadline(half, makeResultTable(half))).toMatch(/^Not finished, \d+ of 20 rounds with 10 clients: perplexity on the clients' own validation rows fell/);
  const early = collectFacts(exampleRun({ until: 0.005 }));
  expect(writeHeadline(early, makeResultTable(early))).toBe("0 rounds of 20 done with 10 clients; no final evaluation yet.");
});
