/** Walls are believed when they have been tried. */
import { expect, test } from "vitest";
import { FedtuneError } from "../../../core/base/errors.ts";
import { bare } from "./bare.ts";
import { WALLS, type Enclosure } from "./enclosure.ts";
import { allowed, enclosingHere, missingWalls, wallNotes } from "./walls.ts";

const linux = process.platform === "linux";

test.runIf(linux)("an enclosure that claims walls which do not stand is found out", async () => {
  const boastful: Enclosure = { ...bare, walls: ["files", "network", "processes", "privileges", "disk"] };
  // Whoever has no privileges lacks them with or without a wall, and a limit of one file stands in no one's way.
  expect(await missingWalls(boastful)).toEqual(expect.arrayContaining(["files", "network", "processes", "disk"]));
});

test.runIf(linux)("the one that is chosen has no missing wall that another has", async () => {
  const { enclosure, missing } = await enclosingHere();
  expect(await missingWalls(enclosure)).toEqual(missing.length === Object.keys(WALLS).length ? Object.keys(WALLS) : missing);
});

test("without walls generated code does not run, unless the caller takes the risk; the error names each missing wall", () => {
  const nothing = { enclosure: bare, missing: ["files", "network"], refused: ["bubblewrap: spawn bwrap ENOENT"] } as const;
  expect(() => allowed(nothing, { unsafe: false })).toThrow(FedtuneError);
  expect(() => allowed(nothing, { unsafe: false })).toThrow(/no wall for files, network \(bubblewrap: spawn bwrap ENOENT\).*unsafe: true/);
  expect(allowed(nothing, { unsafe: true })).toBe(bare);
  expect(wallNotes(nothing)).toEqual([expect.stringContaining("not walled: files"), expect.stringContaining("not walled: network")]);
});

test("where all walls stand nothing is asked and nothing is noted", () => {
  const whole = { enclosure: bare, missing: [], refused: [] };
  expect(allowed(whole, { unsafe: false })).toBe(bare);
  expect(wallNotes(whole)).toEqual([]);
});
