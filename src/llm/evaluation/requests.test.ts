import { expect, test } from "vitest";
import { BENCHMARKS } from "./all.ts";
import { describeBenchmarks, parseRequests } from "./requests.ts";

test("words without = are benchmarks, the others their settings: of one or of all", () => {
  expect(parseRequests(["mmlu", "gsm8k", "shots=3", "gsm8k.max_new_tokens=64", "compat=fsllm", "mmlu.subjects=[anatomy, virology]", "fields.input=context"])).toEqual([
    { name: "mmlu", settings: { shots: 3, compat: "fsllm", subjects: ["anatomy", "virology"], fields: { input: "context" } } },
    { name: "gsm8k", settings: { shots: 3, max_new_tokens: 64, compat: "fsllm", fields: { input: "context" } } },
  ]);
  expect(parseRequests(["mmlu", "mmlu"])).toEqual([{ name: "mmlu", settings: {} }]);
});

test.each([
  [["shots=3"], /^fedtune evaluate: expected at least one benchmark of perplexity, .*, got none\. See `fedtune evaluate --list`\.$/],
  [["mmul"], /^benchmark: expected one of .*, got `mmul`\. Did you mean `mmlu`\?$/],
  [["mmlu", "a..b=3"], /^`a\.\.b=3`: expected setting=value, such as shots=3 or mmlu\.shots=3, got an empty name\.$/],
  [["mmlu", "shots=[3"], /^shots: expected a value in YAML, got /],
])("%j is refused", (words, message) => {
  expect(() => parseRequests(words)).toThrow(message);
});

test("every benchmark says what its settings are", () => {
  const described = describeBenchmarks();
  expect(described.map(({ name }) => name)).toEqual(Object.keys(BENCHMARKS));
  for (const { name, settings } of described) for (const setting of settings) expect([name, setting.name, setting.description.length > 0]).toEqual([name, setting.name, true]);
  expect(described.find(({ name }) => name === "mmlu")?.settings).toContainEqual({ name: "shots", description: "demonstrations before each question", default: 5 });
});
