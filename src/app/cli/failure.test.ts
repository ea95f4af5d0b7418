import { createColors } from "picocolors";
import { expect, test } from "vitest";
import { FedtuneError, interrupted } from "../../core/base/errors.ts";
import { describeFailure, failureAsJson, failureAsText } from "./failure.ts";

const plain = createColors(false);

test("a fault of what was given is one line without a stack", () => {
  const text = failureAsText(describeFailure(new FedtuneError("data", { where: "a.jsonl:7", expected: "JSON", got: "`{`", remedy: "Mend the line" })), plain);
  expect(text).toBe("error a.jsonl:7: expected JSON, got `{`. Mend the line.");
});

test("a bug says that it is one and shows where it happened", () => {
  const failure = describeFailure(new TypeError("x is not a function"));
  expect(failure.exitCode).toBe(1);
  expect(failureAsText(failure, plain)).toMatch(/^error x is not a function\nThis is a bug in fedtune[^\n]*\n {4}at /);
});

test("anything thrown ends with an exit code, even what is no error", () => {
  expect(describeFailure("odd")).toMatchObject({ exitCode: 1, code: "internal", message: "odd", bug: true });
});

test("an interrupted run says so in its own colour and with 130", () => {
  const failure = describeFailure(interrupted("round 3"));
  expect(failure.exitCode).toBe(130);
  expect(failureAsText(failure, plain)).toMatch(/^stopped round 3/);
});

test("machines get one JSON line with the code and the facts", () => {
  const line = failureAsJson(describeFailure(new FedtuneError("model", { where: "m\nn", expected: "weights", got: "none", details: { tensors: 3 } })));
  expect(line).not.toContain("\n");
  expect(JSON.parse(line)).toMatchObject({ type: "error", code: "model", exitCode: 4, details: { tensors: 3, got: "none" } });
});
