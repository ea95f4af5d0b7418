import { expect, test } from "vitest";
import { must } from "../../core/base/errors.ts";
import type { RuntimeSettings } from "../training/settings.ts";
import { openJudgedModel } from "./open-model.ts";

/** Losses of a text and of its two continuations, all after an earlier text. */
async function scores(runtime?: Partial<RuntimeSettings>): Promise<readonly number[]> {
  await using model = await openJudgedModel({ model: "assets/stories260k", ...(runtime && { runtime }) });
  const labelled = (text: string): { readonly ids: Int32Array; readonly labels: Int32Array } => {
    const ids = Int32Array.from(model.tokenizer.encode(text, { addSpecialTokens: false }));
    return { ids, labels: ids };
  };
  const [result] = await model.trainer.score({ shared: labelled("Once upon a time there was a").ids, texts: [{ ...labelled("little girl"), branches: [labelled("in a red house"), labelled("who was sad")] }] }, {});
  const { losses, branches } = must(result, "scores");
  return [losses, ...branches].flatMap((own) => [...own]);
}

test("a model is judged in float32, or in the half precision that is asked for: the same scores but for rounding", async () => {
  const [single, ...half] = await Promise.all([scores(), scores({ compute: "float16" }), scores({ compute: "bfloat16" })]);
  expect(single.length).toBeGreaterThan(8);
  expect(await scores({ compute: "float32" })).toEqual(single);
  const [float16 = 0, bfloat16 = 0] = half.map((own) => Math.max(...own.map((x, i) => Math.abs(x - (single[i] ?? 0)))));
  expect([float16 > 1e-6, float16 < 2e-2, bfloat16 > float16, bfloat16 < 0.2]).toEqual([true, true, true, true]);
}, 120_000);
