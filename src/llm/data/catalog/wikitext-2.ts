/** WikiText-2: articles of Wikipedia, tokenised by words (Merity et al. 2016). */
import type { Dataset } from "./dataset.ts";

export const wikitext2: Dataset = {
  title: "articles of Wikipedia, validation and test",
  purpose: "evaluation",
  licence: "CC-BY-SA-3.0",
  source: { host: "github", repository: "pytorch/examples", revision: "main" },
  parts: {
    test: [{ path: "wikitext-2/test.txt", at: "word_language_model/data/wikitext-2/test.txt", sha256: "d790b833ef8cf03a90db7bf1271b7520b83c45ce07ba3c1a9699df81e239eca0", sizeBytes: 1_256_449 }],
    validation: [{ path: "wikitext-2/valid.txt", at: "word_language_model/data/wikitext-2/valid.txt", sha256: "f0737ed31fc1329026e95cb8b98e19c2a182c39c240ab909dc31abf2f8af58e8", sizeBytes: 1_121_681 }],
  },
  part: "test",
  format: "text",
  fields: { text: "text" },
};
