import { expect, test } from "vitest";
import type { Cell } from "./cell.ts";
import { qualitySection } from "./table.ts";

function cell(trained_on: Cell["settings"]["trained_on"], seed: number, [float32, int8]: readonly [number, number]): Cell {
  return {
    settings: { model: "m", dataset: "dolly", seed, trained_on, steps: 5, batch: 2, tokens: 7, train_rows: 11, validation_rows: 3, learning_rate: 0.01, r: 2, form: "now" },
    validation: { float32, int8 }, last_training_loss: null, labelled_tokens: 13, held: "uint8", seconds: 1, machine: "a machine", versions: { node: "24" },
  };
}

const CELLS = [cell("none", 0, [4, 4.1]), cell("float32", 1, [2, 2.5]), cell("int8", 1, [2.01, 2.6]), cell("float32", 2, [3, 3.5]), cell("int8", 2, [2.97, 3.5]), cell("float32", 3, [9, 9])];

test("a row compares the adapters of one seed on both bases; a seed that lacks one of them has none", () => {
  const rows = qualitySection(CELLS, 7).split("\n").filter((line) => line.startsWith("| dolly"));
  expect(rows).toEqual([
    "| dolly | 1 | 4.0000 | 2.0000 | 2.0100 | +0.50 % | 4.1000 | 2.5000 | 2.6000 | +4.00 % |",
    "| dolly | 2 | 4.0000 | 3.0000 | 2.9700 | −1.00 % | 4.1000 | 3.5000 | 3.5000 | +0.00 % |",
  ]);
});

test("the verdict is of the worst row, by base", () => {
  const text = qualitySection(CELLS, 7);
  expect(text).toContain("+0.50 % at worst on the float32 base (aim: at most +1 %, kept); +4.00 % at worst on the int8 base (aim: at most +2 %, missed)");
  expect(text).toContain("*6 of 7 cells; a machine; 8-bit weights held as uint8; node 24.*");
  expect(qualitySection([cell("none", 0, [4, 4.1])], 7)).not.toContain("at worst");
});
