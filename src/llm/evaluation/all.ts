/** All benchmarks by name: one file each. */
import { gsm8k } from "./benchmarks/gsm8k.ts";
import { humaneval } from "./benchmarks/humaneval.ts";
import { humanevalX } from "./benchmarks/humaneval-x.ts";
import { mmlu } from "./benchmarks/mmlu.ts";
import { perplexity } from "./benchmarks/perplexity.ts";

export const BENCHMARKS = { perplexity, mmlu, gsm8k, humaneval, "humaneval-x": humanevalX } as const;
