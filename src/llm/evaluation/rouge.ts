/** ROUGE-L (Lin 2004, section 3): how much of two texts is one common subsequence of words. */

/** Words as the reference implementation of ROUGE has them: lower case, letters and digits; without stemming. Letters of every script count. */
function wordsOf(text: string): readonly string[] {
  return text.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? [];
}

/** Length of the longest common subsequence, in memory of the shorter list. */
function commonSubsequence(a: readonly string[], b: readonly string[]): number {
  const [long, short] = a.length >= b.length ? [a, b] : [b, a];
  let row = new Int32Array(short.length + 1);
  for (const word of long) {
    const next = new Int32Array(short.length + 1);
    for (let j = 0; j < short.length; j++) next[j + 1] = word === short[j] ? (row[j] ?? 0) + 1 : Math.max(row[j + 1] ?? 0, next[j] ?? 0);
    row = next;
  }
  return row[short.length] ?? 0;
}

export interface Rouge {
  /** Share of the answer's words, and of the reference's, that are common; their harmonic mean. Each between 0 and 1. */
  readonly precision: number;
  readonly recall: number;
  readonly f1: number;
}

/** ROUGE-L of an answer against a reference; 0 where either has no words. */
export function rougeL(answer: string, reference: string): Rouge {
  const [own, wanted] = [wordsOf(answer), wordsOf(reference)];
  const common = commonSubsequence(own, wanted);
  if (common === 0) return { precision: 0, recall: 0, f1: 0 };
  const [precision, recall] = [common / own.length, common / wanted.length];
  return { precision, recall, f1: (2 * precision * recall) / (precision + recall) };
}
