import { describe, expect, it } from "vitest";
import { dataSchema, partitionSchema } from "./settings.ts";

describe("the settings of data and partition", () => {
  it("fill in their defaults", () => {
    expect(dataSchema.parse({ path: "a.jsonl" })).toMatchObject({ format: "auto", template: "alpaca", max_tokens: 512, overflow: "truncate", fields: {} });
    expect(partitionSchema.parse({ method: "own" })).toEqual({ method: "own", split: { train: 0.8, validation: 0.1, test: 0.1 }, validation_fraction: 0.05 });
    expect(partitionSchema.parse({ method: "dirichlet", clients: 3, field: "category" })).toMatchObject({ alpha: 0.5, min_size: 1 });
  });

  it("refuse a path and a source together, neither, a template that is no file, and fractions that do not sum to 1", () => {
    expect(dataSchema.safeParse({ path: "a", source: "b.ts" }).success).toBe(false);
    expect(dataSchema.safeParse({}).success).toBe(false);
    expect(dataSchema.safeParse({ path: "a", name: "gsm8k" }).success).toBe(false);
    expect(dataSchema.safeParse({ name: "gsm8k", part: "test" }).success).toBe(true);
    expect(dataSchema.safeParse({ path: "a", part: "test" }).success).toBe(false);
    expect(dataSchema.safeParse({ path: "a", template: "alpcaa" }).success).toBe(false);
    expect(dataSchema.safeParse({ path: "a", template: "prompts/mine.jinja" }).success).toBe(true);
    expect(partitionSchema.safeParse({ method: "file", split: { train: 0.8, validation: 0.3, test: 0.1 } }).success).toBe(false);
    expect(partitionSchema.safeParse({ method: "file", split: { train: 0, validation: 0.5, test: 0.5 } }).success).toBe(false);
    expect(partitionSchema.safeParse({ method: "iid", clients: 3, alpha: 1 }).success).toBe(false);
  });
});
