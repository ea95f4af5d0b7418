/** Dropout masks, fed from outside: pure functions of seed, module and place, so that a resume draws the same ones. */
import { must } from "../../core/base/errors.ts";
import { randomKey, randomWords } from "../../core/base/random.ts";
import { tensor } from "../../core/base/tensor.ts";
import type { Tensor } from "../../core/base/tensor.ts";
import type { StackedRows } from "../data/stack.ts";
import type { PackedRows } from "../data/types.ts";
import type { MaskInput } from "./graphs.ts";

/** Which draw of the random numbers a pack takes: client, step of its schedule, micro-batch. */
export type MaskCounter = readonly [client: number, step: number, pass: number];

export interface DropoutPlace {
  readonly seed: number;
  /** Probability that an element is dropped; it is rounded to a multiple of 2⁻¹⁶. */
  readonly p: number;
  /** The masks that the graph takes. */
  readonly masks: readonly MaskInput[];
}

/**
 * The masks of a pass by name, bool `[C, B · T, width]`: an element is kept where its 16 random bits are at or above
 * p · 2¹⁶. Bits are counted along the client's own rows, so that they do not depend on its neighbours' sizes.
 */
export function dropoutFeeds({ seed, p, masks }: DropoutPlace, packs: readonly (PackedRows | undefined)[], counters: readonly MaskCounter[], batch: StackedRows): Record<string, Tensor> {
  const threshold = Math.round(p * 0x10000);
  const fill = ({ name, width }: MaskInput): Uint8Array => {
    const key = randomKey(seed, `dropout ${name}`);
    const mask = new Uint8Array(batch.clients * batch.rows * batch.width * width);
    packs.forEach((pack, client) => {
      if (pack === undefined) return;
      const own = pack.width * width;
      const words = randomWords(key, must(counters[client], "counter"), Math.ceil((pack.rows * own) / 2));
      for (let row = 0; row < pack.rows; row++) {
        const to = (client * batch.rows + row) * batch.width * width;
        for (let i = 0; i < own; i++) {
          const bit = row * own + i;
          mask[to + i] = Number((((words[bit >> 1] ?? 0) >>> ((bit & 1) * 16)) & 0xffff) >= threshold);
        }
      }
    });
    return mask;
  };
  return Object.fromEntries(masks.map((site) => [site.name, tensor("bool", [batch.clients, batch.rows * batch.width, site.width], fill(site))]));
}
