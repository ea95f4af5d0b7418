import { describe, expect, it } from "vitest";
import { tensor } from "../../core/base/tensor.ts";
import { decodeMessage, encodeMessage, tensorBytes } from "./encode.ts";
import { encodeSafetensors } from "../../core/formats/safetensors-writer.ts";
import { PROTOCOL_VERSION, type FailureReply, type Task, type Update } from "./messages.ts";

const adapter = new Map([["b", tensor("float32", [2, 3], Float32Array.of(1, -2, 3.5, 0, 5, 6))], ["a", tensor("float32", [1], Float32Array.of(7))]]);
const task: Task = { version: PROTOCOL_VERSION, kind: "task", round: 3, client: 5, steps: 7, stepsDone: 14, totalSteps: 35, adapter };
const update: Update = { version: PROTOCOL_VERSION, kind: "update", round: 3, client: 5, heldExamples: 11, heldTokens: 130, examples: 56, tokens: 700, steps: 6, skippedSteps: 1, loss: null, adapter };
const failure: FailureReply = { version: PROTOCOL_VERSION, kind: "failure", round: 3, client: 5, code: "data", reason: "no rows — außer Zweck" };

describe("a message", () => {
  it.each([["task", task], ["update", update], ["failure", failure]])("comes back as it was sent: %s", (_kind, message) => {
    expect(decodeMessage(encodeMessage(message), "client 5")).toEqual(message);
  });

  it("says beforehand how many bytes its tensors take", () => {
    expect(tensorBytes(adapter)).toBe(encodeSafetensors(adapter).byteLength);
  });

  const sound = encodeMessage(task);
  const changed = (at: number, value: number): Uint8Array => Buffer.from(sound).fill(value, at, at + 1);
  const withHeader = (header: unknown): Uint8Array => {
    const json = Buffer.from(JSON.stringify(header));
    const length = Buffer.alloc(4);
    length.writeUInt32LE(json.byteLength);
    return Buffer.concat([Buffer.from("FEDT"), length, json]);
  };
  it.each([
    ["something else", Buffer.from("GET / HTTP/1.1"), /client 5: expected a fedtune message, got 14 bytes of something else/],
    ["nothing", new Uint8Array(), /got 0 bytes of something else/],
    ["a header length beyond the message", changed(7, 0x7f), /expected a header that fits into its message, got a header length of \d{9,} bytes/],
    ["a header that is not JSON", changed(8, 0x21), /expected a header in JSON/],
    ["another version", withHeader({ ...failure, version: 2 }), /expected a task, update or failure, got version/],
    ["a negative count", withHeader({ ...failure, client: -1 }), /got client/],
    ["a field too many", withHeader({ ...failure, code: "data", exec: "rm" }), /Unrecognized key/],
    ["tensors that are cut short", sound.subarray(0, sound.byteLength - 3), /expected sound safetensors/],
    ["bytes after a failure", Buffer.concat([encodeMessage(failure), Buffer.from("x")]), /expected a failure reply without tensors, got 1 bytes after it/],
    ["float64 tensors", Buffer.concat([encodeMessage({ ...task, adapter: new Map() }).subarray(0, -16), encodeSafetensors(new Map([["a", tensor("float64", [1], Float64Array.of(1))]]))]), /expected float32 tensors, got a in float64|sound safetensors/],
  ])("is refused where it is %s", (_name, bytes, message) => {
    expect(() => decodeMessage(bytes, "client 5")).toThrow(message);
  });

  it("is refused unread where it is larger than allowed", () => {
    expect(() => decodeMessage(sound, "client 5", 100)).toThrow(/expected a message of at most 100 bytes, got \d+ bytes/);
  });
});
