import { parse } from "csv-parse/sync";
import fc from "fast-check";
import { expect, test } from "vitest";
import { exampleMatrix, exampleRecord } from "../example-run.fixture.ts";
import { compareRuns } from "./comparison.ts";
import { quoteField, writeCsv } from "./csv.ts";

test("commas, quotes and line ends are quoted, nothing else is", () => {
  expect(["a", "a,b", 'say "a"', "a\nb", 0.5, null].map(quoteField)).toEqual(["a", '"a,b"', '"say ""a"""', '"a\nb"', "0.5", ""]);
});

test("a reader of CSV gets back what was written", () => {
  fc.assert(fc.property(fc.array(fc.array(fc.string(), { minLength: 2, maxLength: 2 }), { minLength: 1 }), (rows) => {
    expect(parse(rows.map((row) => `${row.map(quoteField).join(",")}\r\n`).join(""), { record_delimiter: "\r\n" })).toEqual(rows);
  }), { seed: 1 });
});

test("the file has a line for each row, scenario, seed and measure, numbers in full", () => {
  const comparison = compareRuns([...exampleMatrix(), exampleRecord({ name: "x", method: "lora", learningRate: 0.5 }), exampleRecord({ name: "x", learningRate: 0.25 })]);
  const lines = parse<Record<string, string>>(writeCsv(comparison), { columns: true });
  expect(Object.keys(lines[0] ?? {})).toEqual(["federation", "method", "settings", "scenario", "client", "seed", "measure", "value", "low", "high", "n"]);
  const of = lines.filter((line) => line["federation"] === "gsm8k-3" && line["method"] === "prompt" && line["seed"] === "2" && line["measure"] === "gsm8k/accuracy" && line["client"] === "");
  expect(of.map((line) => line["scenario"])).toEqual(["base", "local", "global", "federated"]);
  const value = comparison.tables.find(({ key }) => key === "gsm8k/accuracy")?.rows.find((row) => row.federation === "gsm8k-3" && row.method === "prompt")?.cells.federated?.values.find(({ seed }) => seed === 2);
  expect(of[3]).toMatchObject({ value: String(value?.value), low: String(value?.low), high: String(value?.high), n: "200" });
  const clients = comparison.clients.filter(({ federation, method, seed }) => federation === "gsm8k-3" && method === "prompt" && seed === 2);
  const ofClients = lines.filter((line) => line["federation"] === "gsm8k-3" && line["method"] === "prompt" && line["seed"] === "2" && line["client"] !== "");
  expect(ofClients.map((line) => [line["scenario"], line["client"], line["measure"], line["value"], line["n"]])).toEqual(clients.map(({ scenario, client, key, value, questions }) => [scenario, client, key, String(value), String(questions)]));
  expect(clients.length).toBeGreaterThan(3);
  expect(new Set(lines.filter((line) => line["federation"] === "x").map((line) => line["settings"]))).toEqual(new Set(["training.learning_rate=0.5", "training.learning_rate=0.25"]));
});
