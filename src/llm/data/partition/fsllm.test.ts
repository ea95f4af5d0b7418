import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { RawDataset } from "../records.ts";
import { dataSchema, partitionSchema } from "../settings.ts";
import { buildPartition, type PartitionManifest } from "./build.ts";

type Row = Readonly<Record<string, unknown>>;

function build(rows: readonly Row[], partition: Readonly<Record<string, unknown>>, { seed = 3, data = {}, derived }: { readonly seed?: number; readonly data?: object; readonly derived?: RawDataset["derived"] } = {}): PartitionManifest {
  const source: RawDataset = { records: rows.map((fields, i) => ({ fields, origin: { file: "a.jsonl", at: i + 1, unit: "line" } })), files: [], ...(derived && { derived }) };
  return buildPartition({ seed, source, data: dataSchema.parse({ path: "a.jsonl", ...data }), partition: partitionSchema.parse({ compat: "fsllm", ...partition }) }).manifest;
}

const SPLIT = { train: 0.89, validation: 0.1, test: 0.01 };
/** 1,000 rows of five kinds in unequal numbers. */
const ROWS = Array.from({ length: 1000 }, (_, id) => ({ id, category: id < 400 ? "a" : id < 700 ? "b" : id < 850 ? "c" : id < 950 ? "d" : "e" }));
const kindsOf = (rows: readonly number[]): readonly string[] => [...new Set(rows.map((row) => ROWS[row]?.category ?? ""))].sort();

const METHODS = [
  { method: "iid", clients: 3 },
  { method: "dirichlet", clients: 3, field: "category" },
  { method: "field", field: "category", clients: 3 },
] as const;

describe.each(METHODS)("the reference's partition $method", (settings) => {
  it("cuts all rows in one random order first, as Python's int() cuts, and gives every row to one client", () => {
    fc.assert(
      fc.property(fc.nat(300), (seed) => {
        const manifest = build(ROWS.slice(0, 997), { ...settings, split: SPLIT }, { seed });
        const total = (part: "train" | "validation" | "test"): number => manifest.clients.reduce((sum, c) => sum + c[part].length, 0);
        expect([total("train"), total("validation"), total("test")]).toEqual([887, 99, 11]);
        const all = manifest.clients.flatMap((c) => [...c.train, ...c.validation, ...c.test]).sort((a, b) => a - b);
        expect(all).toEqual(Array.from({ length: 997 }, (_, i) => i));
      }),
      { numRuns: 15 },
    );
  });

  it("is the same under the same seed and another under another", () => {
    expect(build(ROWS, settings)).toEqual(build(ROWS, settings));
    expect(build(ROWS, settings).clients).not.toEqual(build(ROWS, settings, { seed: 4 }).clients);
  });

  it("refuses rows that bring their own split, and more clients than rows", () => {
    expect(() => build(ROWS, settings, { data: { split_field: "category" } })).toThrow(/data.split_field: expected none together with partition.compat/);
    expect(() => build(ROWS.slice(0, 3), { ...settings, clients: 5 })).toThrow(/at most \d+/);
  });
});

describe("of the reference", () => {
  it("iid deals each part in equal numbers, the first clients having one more", () => {
    const manifest = build(ROWS.slice(0, 101), { method: "iid", clients: 4, split: { train: 0.5, validation: 0.3, test: 0.2 } });
    expect(manifest.clients.map((c) => [c.train.length, c.validation.length, c.test.length])).toEqual([[13, 8, 6], [13, 8, 5], [12, 7, 5], [12, 7, 5]]);
  });

  it("dirichlet gives validation and test rows in the proportions of a client's training rows", () => {
    const manifest = build(ROWS, { method: "dirichlet", clients: 3, field: "category", split: { train: 0.6, validation: 0.2, test: 0.2 } });
    for (const client of manifest.clients) {
      for (const kind of ["a", "b", "c"]) {
        const share = (part: "train" | "validation" | "test"): number => client[part].filter((row) => ROWS[row]?.category === kind).length / Math.max(1, manifest.clients.reduce((sum, c) => sum + c[part].filter((row) => ROWS[row]?.category === kind).length, 0));
        expect(Math.abs(share("validation") - share("train"))).toBeLessThan(0.12);
        expect(Math.abs(share("test") - share("train"))).toBeLessThan(0.12);
      }
    }
  });

  it("field merges surplus values in turn, and gives a client validation and test rows of other kinds (its fault)", () => {
    const manifests = Array.from({ length: 20 }, (_, seed) => build(ROWS, { method: "field", field: "category", clients: 2, split: SPLIT }, { seed }));
    for (const { clients } of manifests) {
      expect(clients.map((c) => kindsOf(c.train).length)).toEqual([3, 2]);
      expect(clients.flatMap((c) => kindsOf(c.train)).sort()).toEqual(["a", "b", "c", "d", "e"]);
      expect(clients.map((c) => c.name.split("+").sort())).toEqual(clients.map((c) => kindsOf(c.train)));
    }
    const strays = manifests.filter(({ clients }) => clients.some((c) => kindsOf(c.validation).some((kind) => !kindsOf(c.train).includes(kind))));
    expect(strays.length).toBeGreaterThan(10);
  });

  it("field has one client per value by default, without those that are left out", () => {
    const manifest = build(ROWS, { method: "field", field: "category", min_examples: 100 });
    expect(manifest.clients.map((c) => c.name).sort()).toEqual(["a", "b", "c", "d"]);
    expect([manifest.leftOut, manifest.leastExamples, manifest.unused.length]).toEqual([[{ name: "e", rows: 50 }], 100, 50]);
  });
});
