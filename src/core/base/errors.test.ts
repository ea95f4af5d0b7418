import { describe, expect, test } from "vitest";
import { EXIT_CODES, FedtuneError, didYouMean, interrupted, messageOf, must, nearest, type ErrorCode } from "./errors.ts";

const parts = { where: "config.lora.r", expected: "a whole number from 1", got: "-3" };

describe("a FedtuneError", () => {
  test("reads: where, what was expected, what came, and what to do", () => {
    expect(new FedtuneError("config", { ...parts, remedy: "Set it to 8" }).message).toBe("config.lora.r: expected a whole number from 1, got -3. Set it to 8.");
    expect(new FedtuneError("config", parts).message).toBe("config.lora.r: expected a whole number from 1, got -3.");
  });

  test.each(["Set it to 8.", "Did you mean `r`?"])("ends with the remedy's own full stop or question mark: %s", (remedy) => {
    expect(new FedtuneError("config", { ...parts, remedy }).message).toBe(`config.lora.r: expected a whole number from 1, got -3. ${remedy}`);
  });

  test("carries its facts as data, and its cause", () => {
    const cause = new Error("native");
    const error = new FedtuneError("data", { ...parts, details: { line: 17 }, cause });
    expect(error.details).toEqual({ ...parts, line: 17 });
    expect(error.cause).toBe(cause);
    expect(error).toBeInstanceOf(Error);
    expect("cause" in new FedtuneError("data", parts)).toBe(false);
  });

  test("has the exit code that the command line documents", () => {
    const codes = Object.fromEntries(Object.keys(EXIT_CODES).map((code) => [code, new FedtuneError(code as ErrorCode, parts).exitCode])); // Object.keys forgets the key type.
    expect(codes).toEqual({ internal: 1, config: 2, data: 3, model: 4, resources: 5, federation: 6, interrupted: 130 });
    expect(interrupted("round 3").exitCode).toBe(130);
  });
});

describe("the nearest name", () => {
  const names = ["learning_rate", "lora_alpha", "r"];

  test("is offered for a slip, whatever its case", () => {
    expect(nearest("Learnign_rate", names)).toBe("learning_rate");
    expect(didYouMean("lora_alhpa", names)).toBe("Did you mean `lora_alpha`?");
  });

  test("is not offered where none is near", () => {
    expect(nearest("temperature_of_sampling", names)).toBeUndefined();
    expect(didYouMean("temperature_of_sampling", names)).toBe("");
    expect(didYouMean("x", [])).toBe("");
  });
});

test("anything that was thrown has a message", () => {
  expect(messageOf(new TypeError("odd"))).toBe("odd");
  expect(messageOf("text")).toBe("text");
});

test("what must be there is given back, also where it is false or zero; what is missing is a bug", () => {
  expect(must(0, "count")).toBe(0);
  expect(must(false, "flag")).toBe(false);
  expect(() => must(undefined, "count")).toThrow("internal: count is missing");
});
