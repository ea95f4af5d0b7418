/** HumanEval-X: the tasks of HumanEval in six languages (Zheng et al. 2023). */
import type { Dataset, DatasetFile } from "./dataset.ts";

function fileOf(language: string, sha256: string, sizeBytes: number): DatasetFile {
  return { path: `humaneval-x/humaneval_${language}.jsonl`, at: `codegeex/benchmark/humaneval-x/${language}/data/humaneval_${language}.jsonl.gz`, sha256, sizeBytes, rows: 164 };
}

export const humanevalX: Dataset = {
  title: "the tasks of HumanEval in six languages, with tests",
  purpose: "evaluation",
  licence: "Apache-2.0",
  source: { host: "github", repository: "zai-org/CodeGeeX", revision: "2838420b7b4492cf3d16bce5320e26e65960c9e2" },
  parts: {
    cpp: [fileOf("cpp", "af420b4b58c1b5e7f4cac9c1257daad7b20b5c77e88d59ccc120e63825f03325", 303_498)],
    go: [fileOf("go", "87aba5e8ab3be26aec48a355b77c73790900ebae3731c44ea9e3fdd5ea51f1fe", 368_239)],
    java: [fileOf("java", "2157a77a6ff808020adc20142228b4ff698048c0696b33110786400c47c5d79c", 474_987)],
    js: [fileOf("js", "da529500a73fcbc86bc8f6c7855c0f2c0fc7af1c4dc530e26a54bbfd17f97cef", 272_604)],
    python: [fileOf("python", "f0e21637407b08a725dbc5bfcc20f909049f73564dd0d55dcc11619fa0838849", 342_956)],
    rust: [fileOf("rust", "36938439d536c34418b582db82f7bfa5d0331990424fc69b1915c5067634b4e7", 268_092)],
  },
  part: "python",
  fields: { instruction: "prompt", output: "canonical_solution" },
};
