import { describe, expect, it } from "vitest";
import { streamEvents } from "./event-stream.ts";

async function collect(events: AsyncIterable<number>): Promise<{ seen: number[]; error: unknown }> {
  const seen: number[] = [];
  try {
    for await (const event of events) seen.push(event);
  } catch (error) {
    return { seen, error };
  }
  return { seen, error: undefined };
}

describe("a stream of events", () => {
  it("yields all events in order, those too that came in one go", async () => {
    const { seen } = await collect(streamEvents<number>(async (emit) => {
      emit(2);
      emit(3);
      await Promise.resolve();
      emit(5);
    }));
    expect(seen).toEqual([2, 3, 5]);
  });

  it("yields what came before a failure, then the failure", async () => {
    const { seen, error } = await collect(streamEvents<number>(async (emit) => {
      emit(7);
      throw new Error("stop here");
    }));
    expect(seen).toEqual([7]);
    expect(error).toEqual(new Error("stop here"));
  });

  it("does nothing before it is read", async () => {
    let begun = false;
    const events = streamEvents<number>(async () => {
      begun = true;
    });
    await Promise.resolve();
    expect(begun).toBe(false);
    await collect(events);
    expect(begun).toBe(true);
  });

  it("stops the work when its reader leaves, and waits for its end", async () => {
    let ended = false;
    for await (const event of streamEvents<number>(async (emit, signal) => {
      emit(1);
      await new Promise((resolve) => signal.addEventListener("abort", resolve));
      ended = true;
      throw new Error("nobody reads this");
    })) {
      expect(event).toBe(1);
      break;
    }
    expect(ended).toBe(true);
  });

  it("passes a stop from outside on", async () => {
    const stop = new AbortController();
    const reading = collect(streamEvents<number>(async (_emit, signal) => {
      await new Promise((resolve) => signal.addEventListener("abort", resolve));
      throw signal.reason;
    }, stop.signal));
    await Promise.resolve();
    stop.abort(new Error("enough"));
    expect((await reading).error).toEqual(new Error("enough"));
  });
});
