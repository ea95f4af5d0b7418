import fc from "fast-check";
import { existsSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { loadExamples } from "../load-examples.ts";
import type { RawDataset } from "../records.ts";
import { dataSchema, partitionSchema } from "../settings.ts";
import { buildPartition, type PartitionInput, type PartitionManifest } from "./build.ts";
import { countCategories } from "./counts.ts";
import { describeLeftOut } from "./left-out.ts";
import { drawDirichlet } from "./gamma.ts";

type Row = Readonly<Record<string, unknown>> & { readonly file?: string };

function dataset(rows: readonly Row[]): RawDataset {
  return { records: rows.map(({ file = "a.jsonl", ...fields }, i) => ({ fields, origin: { file, at: i + 1, unit: "line" } })), files: [{ path: "a.jsonl", sha256: "0", rows: rows.length }] };
}

function build(rows: readonly Row[], partition: Readonly<Record<string, unknown>>, more: Partial<Omit<PartitionInput, "data">> & { readonly data?: Partial<PartitionInput["data"]> } = {}): ReturnType<typeof buildPartition> {
  const data = { ...dataSchema.parse({ path: "a.jsonl" }), ...more.data };
  return buildPartition({ seed: 3, ...more, source: dataset(rows), data, partition: partitionSchema.parse(partition) });
}

function everyRow(manifest: PartitionManifest): number[] {
  return [...manifest.clients.flatMap((c) => [...c.train, ...c.validation, ...c.test]), ...manifest.globalTest, ...manifest.unused].sort((a, b) => a - b);
}

/** Rows with an id of their own, a category and a client. */
const rows = fc.array(fc.record({ category: fc.constantFrom("x", "y", "z"), client: fc.constantFrom(0, 1, 2, -1), file: fc.constantFrom("p/a.jsonl", "p/b.jsonl") }), { minLength: 12, maxLength: 60 }).map((all) => all.map((row, id) => ({ ...row, id })));
const METHODS = [
  { method: "iid", clients: 4 },
  { method: "dirichlet", clients: 3, field: "category", alpha: 0.7 },
  { method: "field", field: "category" },
  { method: "file" },
] as const;

describe.each(METHODS)("the partition $method", (settings) => {
  it("gives every row to exactly one client and one of its splits, the same under the same seed", () => {
    fc.assert(
      fc.property(rows, fc.nat(500), (all, seed) => {
        const { manifest } = build(all, settings, { seed });
        expect(everyRow(manifest)).toEqual(all.map((_, i) => i));
        expect(build(all, settings, { seed }).manifest).toEqual(manifest);
        for (const client of manifest.clients) expect(client.train.length).toBeGreaterThan(0);
      }),
      { numRuns: 40 },
    );
  });

  it("splits inside the client by the fractions asked for", () => {
    const all = Array.from({ length: 240 }, (_, id) => ({ id, category: "xyz"[id % 3], file: `p/${id % 2}.jsonl` }));
    for (const client of build(all, { ...settings, split: { train: 0.5, validation: 0.3, test: 0.2 } }).manifest.clients) {
      const n = client.train.length + client.validation.length + client.test.length;
      expect(Math.abs(client.validation.length - 0.3 * n)).toBeLessThanOrEqual(0.5);
      expect(Math.abs(client.test.length - 0.2 * n)).toBeLessThanOrEqual(0.5);
    }
  });
});

describe("a random partition", () => {
  const all = Array.from({ length: 200 }, (_, id) => ({ id, category: "xyz"[id % 3] }));

  it("changes with the seed", () => {
    for (const settings of METHODS.slice(0, 2)) expect(build(all, settings, { seed: 1 }).manifest.clients).not.toEqual(build(all, settings, { seed: 2 }).manifest.clients);
  });

  it("deals iid in equal parts, give or take one", () => {
    const sizes = build(all, { method: "iid", clients: 7 }).manifest.clients.map((c) => c.train.length + c.validation.length + c.test.length);
    expect([Math.min(...sizes), Math.max(...sizes)]).toEqual([28, 29]);
  });

  it("is drawn anew until every client has min_size rows, and refused where no draw gets there", () => {
    const sizes = build(all, { method: "dirichlet", clients: 4, field: "category", alpha: 0.3, min_size: 20 }).manifest.clients.map((c) => c.train.length + c.validation.length + c.test.length);
    expect(Math.min(...sizes)).toBeGreaterThanOrEqual(20);
    expect(() => build(all, { method: "dirichlet", clients: 4, field: "category", alpha: 0.01, min_size: 50 })).toThrow(/at least 50 examples for each of 4 clients at alpha 0.01, got at best \d+ in 1000 draws. Raise partition.alpha/);
  });

  it("refuses more clients than examples and a field that no row has", () => {
    expect(() => build(all.slice(0, 2), { method: "iid", clients: 3 })).toThrow(/at most 2 clients for 2 examples, got 3/);
    expect(() => build(all, { method: "field", field: "categry" })).toThrow(/a field `categry` \(partition.field\), got fields id, category. Did you mean `category`/);
    expect(() => build([...all, { id: 5 }], { method: "field", field: "category" })).toThrow(/a.jsonl:201: expected a value in the field `category`/);
  });
});

describe("a Dirichlet draw", () => {
  it("has the mean and variance of its distribution, for alpha below and above 1", () => {
    for (const alpha of [0.3, 1, 4]) {
      const count = 3;
      const first = Array.from({ length: 4000 }, (_, i) => drawDirichlet(alpha, count, { seed: 11, place: [0, i] })[0] ?? 0);
      const mean = first.reduce((a, b) => a + b, 0) / first.length;
      const variance = first.reduce((a, b) => a + (b - mean) ** 2, 0) / first.length;
      expect(mean).toBeCloseTo(1 / count, 1);
      const expected = (1 / count) * (1 - 1 / count) / (count * alpha + 1);
      expect(Math.abs(variance / expected - 1)).toBeLessThan(0.12);
    }
  });

  it("sums to 1 also where alpha is so small that every Gamma draw underflows", () => {
    const shares = drawDirichlet(0.00001, 5, { seed: 1, place: [0, 0] });
    expect(shares.reduce((a, b) => a + b, 0)).toBeCloseTo(1, 12);
  });
});

describe("a partition that the data gives", () => {
  it("names clients by file stem, or by path where stems are the same", () => {
    const names = (files: readonly string[]): readonly string[] => build(files.map((file) => ({ file, n: 1 })), { method: "file" }).manifest.clients.map((c) => c.name);
    expect(names(["p/romeo.jsonl", "p/juliet.jsonl"])).toEqual(["juliet", "romeo"]);
    expect(names(["a/x.jsonl", "b/x.jsonl"])).toEqual(["a/x.jsonl", "b/x.jsonl"]);
  });

  it("leaves out values with fewer than min_examples rows and counts them as unused", () => {
    const { manifest } = build([{ c: "a" }, { c: "a" }, { c: "b" }], { method: "field", field: "c", min_examples: 2 });
    expect(manifest.clients.map((c) => c.name)).toEqual(["a"]);
    expect(manifest.unused).toEqual([2]);
  });

  it("takes at least 100 rows of a value that a rule has made, and names those that it left out", () => {
    const values = [...Array<string>(120).fill("Python"), ...Array<string>(99).fill("Ruby"), ...Array<string>(3).fill("Go")];
    const records = [...values.map((language) => ({ language })), {}, {}].map((fields, i) => ({ fields, origin: { file: "a.jsonl", at: i + 1, unit: "line" as const } }));
    const source: RawDataset = { records, files: [], derived: [{ name: "language", minExamples: 100 }] };
    const of = (settings: object): PartitionManifest => buildPartition({ seed: 3, source, data: dataSchema.parse({ path: "a" }), partition: partitionSchema.parse({ method: "field", field: "language", ...settings }) }).manifest;
    const manifest = of({});
    expect(manifest.clients.map((c) => c.name)).toEqual(["Python"]);
    expect(describeLeftOut(manifest)).toBe("Left out for fewer than 100 rows: Ruby (99), Go (3); and 2 rows whose language no rule can tell");
    expect(manifest.unused).toHaveLength(104);
    expect(of({ min_examples: 3 }).clients.map((c) => c.name)).toEqual(["Go", "Python", "Ruby"]);
    expect(describeLeftOut(of({ min_examples: 1 }))).toBe("Left out 2 rows whose language no rule can tell");
    expect(() => of({ min_examples: 500 })).toThrow(/partition.min_examples: expected at most 120, .* got 500. Lower it/);
  });

  it("lets rarer values join the most frequent ones in turn where fewer clients are asked for", () => {
    const rows = ["a", "b", "b", "c", "c", "c", "d", "d", "d", "d"].map((c) => ({ c }));
    const { manifest } = build(rows, { method: "field", field: "c", clients: 2 });
    expect(manifest.clients.map((c) => [c.name, c.train.length + c.validation.length + c.test.length])).toEqual([["d+b", 6], ["c+a", 4]]);
    expect(() => build(rows, { method: "field", field: "c", clients: 5 })).toThrow(/partition.clients: expected at most 4, .*got 5/);
  });

  it("says how a language column is made where rows have none", () => {
    expect(() => build([{ c: "a" }], { method: "field", field: "language" })).toThrow(/a field `language` \(partition.field\), got fields c. data.derive: \[language\] makes one by rule/);
  });

  it("keeps its own clients, in the order of their numbers, and makes rows without one the global test", () => {
    const all = [{ client: 10 }, { client: 2 }, { client: -1 }, { client: null }, {}, { client: "-1" }];
    const { manifest, partition } = build(all, { method: "own" });
    expect(manifest.clients.map((c) => c.name)).toEqual(["2", "10"]);
    expect(manifest.globalTest).toEqual([2, 3, 4, 5]);
    expect([...partition.globalTest]).toEqual([2, 3, 4, 5]);
  });

  it("keeps its own splits, in any usual word, and holds out validation rows only where there are none", () => {
    const word = (client: number, split: string, n: number): Row[] => Array.from({ length: n }, () => ({ client, split }));
    const { manifest } = build([...word(0, "train", 40), ...word(1, "training", 9), ...word(1, "Dev", 2), ...word(1, "test", 3)], { method: "own", validation_fraction: 0.1 });
    expect(manifest.clients.map((c) => [c.train.length, c.validation.length, c.test.length])).toEqual([[36, 4, 0], [9, 2, 3]]);
    expect(manifest.splitField).toBe("split");
    expect(() => build([{ client: 0, split: "trian" }], { method: "own" })).toThrow(/a.jsonl:1: expected train, validation or test in the field `split` .* got the text "trian"/);
  });

  it("gives a client the same rows whatever other clients there are and in whatever order they come", () => {
    const ofClient = (client: string, n: number): Row[] => Array.from({ length: n }, (_, i) => ({ client, id: `${client}${i}` }));
    const split = (all: readonly Row[]): Map<string, unknown> =>
      new Map(build(all, { method: "own" }, { data: { max_examples_per_client: 6 } }).manifest.clients.map((c) => [c.name, [c.train, c.validation, c.test].map((part) => part.map((row) => all[row]?.["id"]))]));
    const [a, b, c] = [ofClient("a", 20), ofClient("b", 15), ofClient("c", 30)];
    const [forwards, backwards] = [split([...a, ...b, ...c]), split([...c, ...a])];
    expect(backwards.get("a")).toEqual(forwards.get("a"));
    expect(backwards.get("c")).toEqual(forwards.get("c"));
  });
});

describe("limits", () => {
  it("let a client keep at most so many training rows, and none of the others fewer", () => {
    const all = Array.from({ length: 100 }, (_, i) => ({ client: i % 2 }));
    const { manifest } = build(all, { method: "own" }, { data: { max_examples_per_client: 7 } });
    expect(manifest.clients.map((c) => [c.train.length, c.validation.length, c.test.length])).toEqual([[7, 5, 5], [7, 5, 5]]);
    expect(everyRow(manifest)).toEqual(all.map((_, i) => i));
  });

  it("of encoding change no assignment: indices are those of encoded examples, and what was left out is listed", () => {
    const all = Array.from({ length: 30 }, (_, i) => ({ client: i % 3 }));
    const whole = build(all, { method: "own" });
    const kept = Int32Array.from(all.map((_, i) => i).filter((i) => i % 5 !== 0));
    const { partition, manifest } = build(all, { method: "own" }, { kept });
    expect(manifest.clients).toEqual(whole.manifest.clients);
    expect(manifest.dropped).toEqual([0, 5, 10, 15, 20, 25]);
    for (const [i, client] of partition.clients.entries()) {
      expect([...client.train].map((encoded) => kept[encoded])).toEqual(manifest.clients[i]?.train.filter((row) => row % 5 !== 0));
    }
  });

  it("refuse a client without training rows, and one whose training rows were all left out", () => {
    const all = [{ client: 0, split: "train" }, { client: 1, split: "test" }];
    expect(() => build(all, { method: "own" })).toThrow(/client 1: expected at least one training example .* got 1 rows, none of them for training/);
    expect(() => build([{ client: 0 }, { client: 1 }], { method: "own" }, { kept: Int32Array.of(0) })).toThrow(/client 1: .*answers all lie beyond data.max_tokens. Raise data.max_tokens/);
  });
});

describe("the partition chart", () => {
  it("counts each client's rows by category, the most frequent first and the rarest together", () => {
    const all = [...Array.from({ length: 20 }, (_, i) => ({ client: 0, category: `c${String(i).padStart(2, "0")}` })), { client: 1, category: "c05" }, { client: 1, category: null }];
    const { manifest } = build(all, { method: "own" });
    const chart = countCategories(dataset(all), manifest, {});
    expect(chart.categories).toHaveLength(13);
    expect([chart.categories[0], chart.categories.at(-1)]).toEqual(["c05", "other"]);
    expect(chart.clients.map((c) => [c.counts[0], c.counts.at(-1)])).toEqual([[1, 8], [1, 1]]);
  });

  it("has one category where rows have none", () => {
    const all = [{ client: 0 }, { client: 0 }];
    expect(countCategories(dataset(all), build(all, { method: "own" }).manifest, {})).toEqual({ field: null, categories: ["examples"], clients: [{ name: "0", counts: [2] }] });
  });
});

describe("Dolly-15k", () => {
  const path = "../shared/data/dolly15k/dolly15k-fedit10.jsonl";
  it.skipIf(!existsSync(path))("keeps its ten published clients and its 80 rows of global test (needs ../shared)", async () => {
    const data = dataSchema.parse({ path });
    const { partition } = buildPartition({ source: await loadExamples(data, "."), data, partition: partitionSchema.parse({ method: "own" }), seed: 1 });
    expect(partition.clients.map((c) => c.train.length + c.validation.length)).toEqual([1493, 1493, 1493, 1492, 1493, 1493, 1493, 1493, 1494, 1494]);
    expect(partition.clients.map((c) => c.validation.length)).toEqual(Array(10).fill(75));
    expect(partition.globalTest.length).toBe(80);
  });
});
