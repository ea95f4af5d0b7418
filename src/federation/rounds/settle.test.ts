import { describe, expect, it } from "vitest";
import { tensor, type NamedTensors } from "../../core/base/tensor.ts";
import { PROTOCOL_VERSION, type Reply } from "../protocol/messages.ts";
import { fedavg } from "../strategies/fedavg.ts";
import type { Strategy } from "../strategies/types.ts";
import { settleRound, type SettleOptions } from "./settle.ts";

const one = (values: readonly number[]): NamedTensors<"float32"> => new Map([["w", tensor("float32", [values.length], Float32Array.from(values))]]);
const update = (client: number, values: readonly number[], over: Partial<{ round: number; heldExamples: number }> = {}): Reply => ({
  version: PROTOCOL_VERSION, kind: "update", round: 2, client, heldExamples: 2 + client, heldTokens: 50, examples: 8, tokens: 70, steps: 4, skippedSteps: 0, loss: 3.5, adapter: one(values), ...over,
});
const options: SettleOptions = { strategy: fedavg, weighting: "examples", pairs: [], minClients: 1, scenario: "federated" };
const global = one([0.5, 7]);

describe("the replies of a round", () => {
  it("give the mean weighted by the examples that clients hold, whatever order they came in", () => {
    const replies = [update(0, [2, 3]), update(1, [5, 11]), update(5, [-1, 0.5])];
    const settled = settleRound(2, global, replies, options);
    expect(settled.adapter.get("w")?.data).toEqual(Float32Array.of((2 * 2 + 3 * 5 - 7) / 12, (2 * 3 + 3 * 11 + 7 * 0.5) / 12));
    expect(settleRound(2, global, replies.toReversed(), options)).toEqual(settled);
  });

  it("count as failures where they hold NaN, another shape, another round or no weight", () => {
    const replies = [update(0, [2, NaN]), update(1, [5, 11]), update(2, [1]), update(3, [1, 1], { round: 1 }), update(4, [1, 1], { heldExamples: 0 })];
    const settled = settleRound(2, global, replies, options);
    expect(settled.adapter.get("w")?.data).toEqual(Float32Array.of(5, 11));
    expect(settled.failures.map(({ client, reason }) => `${client}: ${reason}`)).toEqual([
      expect.stringMatching(/^0: federated, round 2, client 0: expected w of finite numbers, got NaN or infinity/),
      expect.stringMatching(/^2: .* expected w of shape \[2\], got \[1\]/),
      expect.stringMatching(/^3: .* expected an update of round 2, got one of round 1/),
      expect.stringMatching(/^4: .* expected a client with examples, got none/),
    ]);
  });

  it("are looked through for NaN before a strategy that might hide it sees them", () => {
    const seen: number[] = [];
    const strategy: Strategy = { ...fedavg, name: "first", passesNonFiniteOn: false, aggregate: ({ updates }) => (seen.push(...updates.map(({ client }) => client)), updates[0]?.load() ?? global) };
    settleRound(2, global, [update(0, [2, 3]), update(1, [NaN, 11])], { ...options, strategy });
    expect(seen).toEqual([0]);
  });

  it("leave what a strategy does not send as it was", () => {
    const strategy: Strategy = { ...fedavg, payload: (trained) => new Map([...trained].filter(([name]) => name === "w")) };
    const settled = settleRound(2, new Map([...one([1, 1]), ["kept", tensor("float32", [1], Float32Array.of(9))]]), [update(0, [2, 3])], { ...options, strategy });
    expect([...settled.adapter].map(([name, { data }]) => [name, [...data]])).toEqual([["w", [2, 3]], ["kept", [9]]]);
  });

  it("end the run where a strategy makes NaN of finite updates", () => {
    const strategy: Strategy = { ...fedavg, aggregate: () => one([NaN, 0]) };
    expect(() => settleRound(2, global, [update(0, [2, 3])], { ...options, strategy })).toThrow(/federated, round 2: expected a finite adapter from fedavg, got NaN or infinity from finite updates/);
  });

  it("say what travelled", () => {
    const [described] = settleRound(2, global, [update(0, [2, 3])], options).updates;
    expect(described).toMatchObject({ client: 0, weight: 2, examples: 8, tokens: 70, steps: 4, bytesDown: 64 + 8, bytesUp: 64 + 8 });
  });
});
