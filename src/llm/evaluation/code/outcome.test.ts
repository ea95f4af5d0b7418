/** What exit statuses and last words mean. */
import { expect, test } from "vitest";
import { Captured } from "./captured.ts";
import { outcomeOf } from "./outcome.ts";

test.each([
  [0, "", "passed"], [1, "AssertionError", "failed"], [152, "", "timed-out"], [153, "", "disk"], [137, "", "killed"], [134, "terminate called after throwing an instance of 'std::bad_alloc'", "memory"],
  [1, "MemoryError", "memory"], [1, "java.lang.OutOfMemoryError: Java heap space", "memory"], [1, "OSError: [Errno 28] No space left on device", "disk"],
] as const)("status %i with the words %j is %s", (status, stderr, outcome) => {
  expect(outcomeOf(status, { last: true, stderr })).toBe(outcome);
});

test("a compiler that fails is no failing test, and one that runs out of memory says so", () => {
  expect(outcomeOf(1, { last: false, stderr: "error: expected ;" })).toBe("compile-error");
  expect(outcomeOf(1, { last: false, stderr: "virtual memory exhausted: Cannot allocate memory" })).toBe("memory");
});

test("of an endless stream both ends are kept, and what is between is counted", () => {
  const captured = new Captured();
  captured.add(Buffer.from("begin "));
  for (let i = 0; i < 100; i++) captured.add(Buffer.alloc(4096, "x"));
  captured.add(Buffer.from(" end"));
  const text = captured.text();
  expect(captured.total).toBe(409_610);
  expect(text).toMatch(/^begin x+\n… 344074 bytes left out …\nx+ end$/);
});

test("a short stream is kept as it is", () => {
  const captured = new Captured();
  captured.add(Buffer.from("à la "));
  captured.add(Buffer.from("carte"));
  expect(captured.text()).toBe("à la carte");
});
