import { appendFileSync, existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeEach, describe, expect, test } from "vitest";
import { z } from "zod";
import { aliveResources } from "../base/disposal.ts";
import { openJournal, readJournal } from "./journal.ts";

const root = mkdtempSync(join(tmpdir(), "fedtune-journal-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));
let path: string;
beforeEach(() => {
  path = join(mkdtempSync(join(root, "j-")), "journal.jsonl");
});

const schema = z.object({ round: z.number().int(), note: z.string() });
const decode = (value: unknown): z.infer<typeof schema> => schema.parse(value);
const EVENTS = [{ round: 2, note: "first" }, { round: 3, note: 'with "quotes"\nand ünïcode 🦙' }, { round: 5, note: "third" }];

/** Writes the events and gives the file's bytes. */
function write(): Buffer {
  using journal = openJournal(path, decode);
  for (const event of EVENTS) journal.append(event);
  return readFileSync(path);
}
function refusal(code: string, text: string): unknown {
  const message: unknown = expect.stringContaining(text);
  return expect.objectContaining({ code, message });
}

describe("a journal", () => {
  test("gives back what was appended, and goes on where it ended", () => {
    const before = aliveResources();
    write();
    {
      using journal = openJournal(path, decode);
      expect(journal.opened).toEqual({ events: EVENTS, tornBytes: 0 });
      journal.appendTick({ round: 7, note: "a tick" });
      expect(readJournal(path, decode).events.at(-1)).toEqual({ round: 7, note: "a tick" });
    }
    expect(readJournal(path, decode).events).toEqual([...EVENTS, { round: 7, note: "a tick" }]);
    expect(aliveResources()).toBe(before);
  });

  test("gives back any events, line by line", () => {
    fc.assert(
      fc.property(fc.array(fc.jsonValue(), { maxLength: 5 }), (events) => {
        rmSync(path, { force: true });
        {
          using journal = openJournal(path, (value) => value);
          for (const event of events) journal.append(event);
        }
        // JSON has no −0.
        expect(readJournal(path, (value) => value).events).toEqual(JSON.parse(JSON.stringify(events)));
        expect(readFileSync(path, "utf8").split("\n")).toHaveLength(events.length + 1);
      }),
      { numRuns: 50 },
    );
  });

  test("is written by one process at a time", () => {
    using _journal = openJournal(path, decode);
    expect(() => openJournal(path, decode)).toThrow(refusal("resources", `process ${process.pid}, which is writing it`));
  });

  test("takes no event that could not be read back, nor any after it is closed", () => {
    const journal = openJournal(path, decode);
    expect(() => journal.append({ round: NaN, note: "x" })).toThrow();
    expect(readFileSync(path, "utf8")).toBe("");
    journal[Symbol.dispose]();
    expect(() => journal.append({ round: 2, note: "x" })).toThrow("the journal is closed");
  });
});

describe("a torn last line", () => {
  test("is cut off wherever the crash came, and the journal then goes on to the same bytes", () => {
    const whole = write();
    const secondEnd = whole.indexOf(10, whole.indexOf(10) + 1) + 1;
    for (let length = secondEnd; length < whole.byteLength; length++) {
      writeFileSync(path, whole.subarray(0, length));
      expect(readJournal(path, decode)).toEqual({ events: EVENTS.slice(0, 2), tornBytes: length - secondEnd });
      using journal = openJournal(path, decode);
      expect(journal.opened.events).toEqual(EVENTS.slice(0, 2));
      journal.append({ round: 5, note: "third" });
      expect(readFileSync(path)).toEqual(whole);
    }
  });

  test("whose middle never reached the disk is cut off as well", () => {
    write();
    appendFileSync(path, '{"n":4,"sum":"01\0\0\0\0\0\0\n');
    using journal = openJournal(path, decode);
    expect(journal.opened).toEqual({ events: EVENTS, tornBytes: 23 });
  });
});

describe("any other damage", () => {
  test("of any one byte before the last newline is refused with file and line", () => {
    const whole = write();
    const lines = whole.toString("latin1").split("\n").flatMap((text, i) => Array.from(`${text}\n`, () => i + 1));
    for (let i = 0; i < whole.byteLength - 1; i++) {
      const damaged = Buffer.from(whole);
      damaged[i] = (whole[i] ?? 0) ^ 0x01;
      writeFileSync(path, damaged);
      const line = lines[i];
      expect(() => openJournal(path, decode), `byte ${i}`).toThrow(refusal("data", `${path}:${line}: expected line ${line} of the journal as it was written`));
      expect(readFileSync(path)).toEqual(damaged);
    }
  });


  test("such as a missing, doubled or foreign line is refused", () => {
    const lines = write().toString().split("\n").slice(0, 3);
    const [first = "", second = "", third = ""] = lines;
    for (const [text, got] of [
      [[first, third], ":2: expected line 2 of the journal as it was written, got line number 3"],
      [[first, first, second], ":2: expected line 2 of the journal as it was written, got line number 1"],
      [[first, '{"round":1}', second], ":2: expected line 2 of the journal as it was written, got JSON of another form"],
      [[first, "", second], ":2: expected line 2 of the journal as it was written, got an empty line"],
    ] as const) {
      writeFileSync(path, `${text.join("\n")}\n`);
      expect(() => openJournal(path, decode)).toThrow(refusal("data", got));
    }
  });

  test("such as a line of another run with the same number is refused", () => {
    const [first = "", second = ""] = write().toString().split("\n");
    const other = `${path}.other`;
    {
      using journal = openJournal(other, decode);
      journal.append({ round: 11, note: "another run" });
      journal.append({ round: 3, note: "second" });
    }
    const foreign = readFileSync(other, "utf8").split("\n")[1] ?? "";
    expect(foreign).not.toBe(second);
    writeFileSync(path, `${first}\n${foreign}\n`);
    expect(() => openJournal(path, decode)).toThrow(refusal("data", ":2: expected line 2 of the journal as it was written, got a line that was changed"));
  });

  test("such as an event that this version does not know is refused, and the lock is given back", () => {
    write();
    const stricter = (value: unknown): unknown => z.object({ other: z.string() }).parse(value);
    expect(() => openJournal(path, stricter)).toThrow(refusal("data", `${path}:1: expected an event that this version of fedtune knows`));
    using journal = openJournal(path, decode);
    expect(journal.opened.events).toHaveLength(3);
  });
});

describe("a disk that fails", () => {
  test.skipIf(!existsSync("/dev/full"))("by being full is named with the path (needs /dev/full)", () => {
    symlinkSync("/dev/full", path);
    using journal = openJournal(path, decode);
    const full = refusal("resources", `${path}: expected a journal to append to, got a full disk (ENOSPC)`);
    expect(() => journal.append({ round: 2, note: "x" })).toThrow(full);
    expect(() => journal.appendTick({ round: 2, note: "x" })).toThrow(full);
  });

  test("by lacking the folder is named with the path", () => {
    expect(() => openJournal(join(path, "none"), decode)).toThrow(refusal("resources", join(path, "none")));
    expect(() => readJournal(path, decode)).toThrow(refusal("resources", `${path}: expected a journal to read, got no such file`));
  });
});
