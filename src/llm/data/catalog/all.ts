/** All built-in data sets, by name: those to train on, then those to evaluate by. */
import { FedtuneError, didYouMean } from "../../../core/base/errors.ts";
import { advbench } from "./advbench.ts";
import { alpaca } from "./alpaca.ts";
import { alpaca_cleaned } from "./alpaca_cleaned.ts";
import { code_search_net } from "./code_search_net.ts";
import { codealpaca } from "./codealpaca-6.5k.ts";
import type { Dataset } from "./dataset.ts";
import { dolly15k } from "./dolly-15k.ts";
import { dolly15kFedit10 } from "./dolly-15k-fedit10.ts";
import { dpoDemo } from "./dpo-demo.ts";
import { gsm8k } from "./gsm8k.ts";
import { hhRlhf } from "./hh-rlhf.ts";
import { humaneval } from "./humaneval.ts";
import { humanevalX } from "./humaneval-x.ts";
import { mmlu } from "./mmlu.ts";
import { rosetta_alpaca } from "./rosetta_alpaca.ts";
import { tinyshakespeare } from "./tinyshakespeare.ts";
import { tinystories } from "./tinystories.ts";
import { wikitext2 } from "./wikitext-2.ts";

export const DATASETS: Readonly<Record<string, Dataset>> = {
  alpaca,
  alpaca_cleaned,
  "dolly-15k": dolly15k,
  "dolly-15k-fedit10": dolly15kFedit10,
  gsm8k,
  code_search_net,
  rosetta_alpaca,
  "codealpaca-6.5k": codealpaca,
  tinyshakespeare,
  tinystories,
  humaneval,
  "humaneval-x": humanevalX,
  mmlu,
  "wikitext-2": wikitext2,
  "hh-rlhf": hhRlhf,
  "dpo-demo": dpoDemo,
  advbench,
};

/** A built-in data set by name. Throws FedtuneError "config" naming the nearest one. `where` is what named it. */
export function datasetNamed(name: string, where = "data.name"): Dataset {
  const found = Object.hasOwn(DATASETS, name) ? DATASETS[name] : undefined;
  if (found !== undefined) return found;
  throw new FedtuneError("config", { where, expected: "a built-in data set, or hub:owner/name@revision/file", got: `\`${name}\``, remedy: didYouMean(name, Object.keys(DATASETS)) || "See `fedtune data list`; a file of yours is data.path", details: { names: Object.keys(DATASETS) } });
}

/** The part that is meant, by name. Throws FedtuneError "config" for one that the data set lacks. */
export function partNamed(name: string, dataset: Dataset, part: string | undefined): string {
  if (part === undefined) return dataset.part;
  if (Object.hasOwn(dataset.parts, part)) return part;
  const parts = Object.keys(dataset.parts);
  throw new FedtuneError("config", { where: "data.part", expected: `a part of ${name}: ${parts.join(", ")}`, got: `\`${part}\``, remedy: didYouMean(part, parts) });
}
