import { EventEmitter } from "node:events";
import { expect, test } from "vitest";
import { listenForSignals } from "./interrupt.ts";

const setUp = () => {
  const source = new EventEmitter();
  const log: string[] = [];
  let time = 1000;
  const interrupt = listenForSignals(source, { now: () => time, exitNow: () => log.push("exit") });
  return { source, log, interrupt, wait: (ms: number) => (time += ms) };
};

test("where nothing stops by itself the first signal ends the process, after the terminal is restored", () => {
  const { source, log, interrupt } = setUp();
  interrupt.onExit(() => log.push("restore"));
  source.emit("SIGTERM");
  expect(log).toEqual(["restore", "exit"]);
});

test("the first signal asks to stop and the second ends at once", () => {
  const { source, log, interrupt, wait } = setUp();
  const signal = interrupt.cooperate(() => log.push("stopping"));
  source.emit("SIGINT");
  expect([signal.aborted, ...log]).toEqual([true, "stopping"]);
  wait(900);
  source.emit("SIGTERM");
  expect(log).toEqual(["stopping", "exit"]);
});

test("one press that arrives twice counts once", () => {
  const { source, log, interrupt, wait } = setUp();
  interrupt.cooperate();
  source.emit("SIGINT");
  wait(30);
  source.emit("SIGINT");
  expect(log).toEqual([]);
});

test("a stop can be asked for without a signal, where something can stop by itself", () => {
  const { log, interrupt } = setUp();
  expect(interrupt.requestStop()).toBe(false);
  const signal = interrupt.cooperate(() => log.push("stopping"));
  expect(interrupt.requestStop()).toBe(true);
  expect(interrupt.requestStop()).toBe(true);
  expect([signal.aborted, ...log]).toEqual([true, "stopping"]);
});
