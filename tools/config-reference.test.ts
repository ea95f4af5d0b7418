import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { allFields } from "../src/app/experiment/json-schema.ts";
import { referencePages } from "./config-reference.ts";

test.each([...referencePages()])("docs/%s is what the schema makes (npm run reference)", (name, text) => {
  expect(readFileSync(new URL(`../docs/${name}`, import.meta.url), "utf8")).toBe(text);
});

test("every field of a config has a description, and knows its words and default", () => {
  const fields = allFields();
  expect(fields.filter((f) => f.description === "").map((f) => f.path)).toEqual([]);
  expect(fields.find((f) => f.path === "training.moments")).toMatchObject({ values: '"reset" or "carry"', default: "reset" });
});
