/** CodeSearchNet: functions of six languages with their documentation (Husain et al. 2019). */
import type { Dataset, DatasetFile } from "./dataset.ts";

const LANGUAGES = ["python", "javascript", "java", "ruby", "php", "go"] as const;

function fileOf(part: string): (language: string) => DatasetFile {
  return (language) => ({ path: `code_search_net/${language}/${part}-*.parquet`, at: `${language}/${part}-*.parquet` });
}

export const code_search_net: Dataset = {
  title: "1.9M documented functions of six languages",
  purpose: "training",
  licence: "each function under the licence of its repository",
  terms: "Look up the repository (func_code_url in the files) before code of it is passed on.",
  source: { host: "hub", repository: "code-search-net/code_search_net", revision: "bd0cf261e357a3eb5c8fba490d23ec1a1cd59555" },
  parts: { train: LANGUAGES.map(fileOf("train")), validation: LANGUAGES.map(fileOf("validation")), test: LANGUAGES.map(fileOf("test")) },
  part: "train",
  format: "parquet",
  fields: { instruction: "instruction", input: "language", output: "func_code_string", category: "language" },
  keep: ["func_name", "language", "func_code_string", "func_documentation_string"],
  compose: { instruction: "{language} {func_documentation_string}" },
  note: "The reference system reads zip files of an earlier state of the repository; here the same functions come as Parquet. Take a share of the rows by data.sample (the reference: 0.05): all of them fill some gigabytes of memory.",
};
