/** What a rule is that makes a field where the data has none. */

/** The texts of a row by what they mean; empty where it has none. */
export interface RuleTexts {
  readonly instruction: string;
  readonly input: string;
  readonly output: string;
  readonly text: string;
}

/** One rule. */
export interface FieldRule {
  /** What it makes, in a few words. */
  readonly summary: string;
  /** Rows that a value needs to be told from a slip of the rule: the default of partition.min_examples. */
  readonly minExamples: number;
  /** The value for a row; undefined where the rule cannot tell. */
  derive(texts: RuleTexts): string | undefined;
}
