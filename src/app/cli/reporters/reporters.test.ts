// oxlint-disable no-control-regex -- what is tested is what a terminal is told
import { createColors } from "picocolors";
import { expect, test } from "vitest";
import { exampleRun } from "../../report/example-run.fixture.ts";
import type { RunEvent } from "../api.ts";
import { widthOf } from "../text-layout.ts";
import { createJsonReporter } from "./json.ts";
import { createPlainReporter } from "./plain.ts";
import { createTerminalReporter } from "./terminal.ts";

const capture = (columns = 80) => {
  const writes: string[] = [];
  return { writes, stdout: { isTTY: true, columns, write: (text: string) => void writes.push(text) } };
};

/** Replays a run at its own times on a terminal that keeps what is on its screen. */
const replayOnTerminal = (events: readonly RunEvent[], columns = 80) => {
  const { writes, stdout } = capture(columns);
  let time = 0;
  let tick = (): void => undefined;
  const reporter = createTerminalReporter(stdout, { colors: createColors(true), now: () => time, every: (_ms, draw) => ((tick = draw), () => (tick = () => undefined)) });
  for (const event of events) {
    time = Date.parse(event.at);
    tick();
    reporter.add(event);
  }
  return { writes, reporter, advance: (ms: number) => ((time += ms), tick()) };
};

/** What a terminal shows after these writes: lines, cursor movement up, erasing. */
const screen = (writes: readonly string[]): string[] => {
  const lines: string[] = [""];
  let row = 0;
  const drawn = new Set<number>();
  for (const [token] of writes.join("").matchAll(/\u001b\[[?\d]*[A-Za-z]|\n|\r|[^\u001b\n\r]+/g)) {
    const up = /\u001b\[(\d+)A/.exec(token);
    if (up !== null) row -= Number(up[1]);
    else if (token === "\n") row += 1;
    else if (token === "\u001b[J") lines.length = row + 1;
    else if (!token.startsWith("\u001b") && token !== "\r") lines[row] = drawn.has(row) ? (lines[row] ?? "") + token : token;
    if (token === "\r" || token === "\n" || up !== null) drawn.delete(row);
    else if (!token.startsWith("\u001b")) drawn.add(row);
    if (token === "\u001b[J") lines[row] = "";
  }
  return lines;
};

test("plain lines: one per round of each phase, none per step, no escape sequences", () => {
  const { writes, stdout } = capture();
  const reporter = createPlainReporter(stdout);
  for (const event of exampleRun()) reporter.add(event);
  const text = writes.join("");
  expect(text).not.toContain("\u001b");
  for (const phase of ["federated", "pooled", "alone"]) expect(text.match(new RegExp(`^${phase} round \\d+/20: `, "gm"))).toHaveLength(20);
  expect(text).toMatch(/^federated round 12\/20: loss \d\.\d{3}, 10 of 10 clients, \d+ tokens\/s, about \d+ min.* left$/m);
  expect(text).toContain("warning: round 7 of federated, client 4 failed: worker 1");
});

test("JSON lines give each event back as it was", () => {
  const { writes, stdout } = capture();
  const reporter = createJsonReporter(stdout);
  const events = exampleRun({ rounds: 2 });
  for (const event of events) reporter.add(event);
  expect(writes.map((line): unknown => JSON.parse(line))).toEqual(events);
});

test("a terminal keeps one block of progress at the bottom and gives the cursor back", () => {
  const { writes, reporter } = replayOnTerminal(exampleRun({ until: 0.2 }));
  const shown = screen(writes).filter((line) => line !== "");
  expect(shown.filter((line) => /round \d+\/20/.test(line))).toHaveLength(1);
  expect(shown.at(-1)).toMatch(/loss \d\.\d{3} {2}\d+ tokens\/s {2}.* so far {2}about .* left/);
  reporter[Symbol.dispose]();
  expect(writes.at(-1)).toMatch(/\u001b\[\?25h$/);
  expect(screen(writes).join("\n")).not.toMatch(/round \d+\/20/);
});

test("no drawing is wider than the terminal, however narrow", () => {
  for (const columns of [80, 50, 30]) {
    const { writes } = replayOnTerminal(exampleRun({ until: 0.2 }), columns);
    for (const line of writes.join("").split("\n")) expect(widthOf(line.replaceAll("\r", ""))).toBeLessThan(columns);
  }
});

test("a terminal is drawn at most ten times per second, however many events come", () => {
  const events = exampleRun({ until: 0.02 });
  const burst = events.filter((e) => e.type === "step").map((e, i): RunEvent => ({ ...e, at: new Date(Date.UTC(2027, 0, 1) + i).toISOString() }));
  const { writes } = replayOnTerminal([...events.filter((e) => e.type !== "step"), ...burst.flatMap((e) => Array.from({ length: 50 }, () => e))]);
  const before = replayOnTerminal(events.filter((e) => e.type !== "step")).writes.length;
  expect(writes.length - before).toBeLessThanOrEqual(2);
});

test("the clock on the screen runs while nothing happens, and a stop is said", () => {
  const { writes, reporter, advance } = replayOnTerminal(exampleRun({ until: 0.1 }));
  advance(100);
  const count = writes.length;
  advance(400);
  expect(writes).toHaveLength(count);
  advance(700);
  expect(writes).toHaveLength(count + 1);
  reporter.stopping();
  expect(screen(writes).join("\n")).toContain("stopping after the running step");
});

test("a run taken up again shows how far it was, without repeating what was said", () => {
  const events = exampleRun({ rounds: 4 });
  const half = events.findIndex((e) => e.type === "round-committed" && e.round === 2) + 1;
  const { writes, stdout } = capture();
  const reporter = createPlainReporter(stdout);
  reporter.catchUp(events.slice(0, half));
  expect(writes).toEqual([]);
  for (const event of events.slice(half)) reporter.add(event);
  expect(writes.join("")).toMatch(/^federated after round 2: [^\n]*\nfederated round 3\/4: /);
});
