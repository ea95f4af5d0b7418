/** All benchmarks by name: one file each. */
import { codeMatch } from "./benchmarks/code-match.ts";
import { gsm8k } from "./benchmarks/gsm8k.ts";
import { humaneval } from "./benchmarks/humaneval.ts";
import { humanevalX } from "./benchmarks/humaneval-x.ts";
import { mmlu } from "./benchmarks/mmlu.ts";
import { multipleChoice } from "./benchmarks/multiple-choice.ts";
import { perplexity } from "./benchmarks/perplexity.ts";
import { responseChoice } from "./benchmarks/response-choice.ts";
import { rougeL } from "./benchmarks/rouge-l.ts";

export const BENCHMARKS = {
  perplexity, gsm8k, mmlu, humaneval,
  "humaneval-x": humanevalX,
  "multiple-choice": multipleChoice,
  "code-match": codeMatch,
  "rouge-l": rougeL,
  "response-choice": responseChoice,
} as const;
