/** Which adapter methods do not fit which architectures, found by binding each with its default settings to a small model. */
import { TINY_CONFIGS, openTiny } from "../../test/support/tiny-models.ts";
import { FedtuneError } from "../../src/core/base/errors.ts";
import { ADAPTER_METHODS, bindAdapter } from "../../src/llm/adapters/all.ts";
import { adapterSchema } from "../../src/llm/adapters/settings.ts";

export interface UnfitPair {
  readonly architecture: string;
  readonly method: string;
  readonly reason: string;
}

export function pairsThatDoNotFit(): readonly UnfitPair[] {
  return Object.entries(TINY_CONFIGS).flatMap(([architecture, config]) => {
    const model = openTiny(config);
    return Object.keys(ADAPTER_METHODS).flatMap((method): UnfitPair[] => {
      try {
        bindAdapter(adapterSchema.parse({ method, ...SMALL[method] }), model);
        return [];
      } catch (error) {
        if (!(error instanceof FedtuneError)) throw error;
        return [{ architecture, method, reason: `needs ${String(error.details["expected"])}` }];
      }
    });
  });
}

/** What defaults are too large for models of 16 elements. */
const SMALL: Readonly<Record<string, Readonly<Record<string, unknown>>>> = { prompt: { num_virtual_tokens: 2 }, prefix: { num_virtual_tokens: 2 }, p_tuning: { num_virtual_tokens: 2 } };
