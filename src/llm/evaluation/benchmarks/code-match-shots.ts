/** Five demonstrations of code match, written for fedtune: three that match, two that do not. */

export interface CodePair {
  readonly doc: string;
  readonly code: string;
  /** 1: the code does what the document says. */
  readonly label: 0 | 1;
}

export const DEMONSTRATIONS: readonly CodePair[] = [
  { doc: "python sum of the squares of a list", code: "def sum_of_squares(values):\n    return sum(value * value for value in values)", label: 1 },
  { doc: "python check if a file exists", code: "def word_count(text):\n    \"\"\"Number of words in a text.\"\"\"\n    return len(text.split())", label: 0 },
  { doc: "reverse the words of a sentence in python", code: "def reverse_words(sentence):\n    return \" \".join(reversed(sentence.split()))", label: 1 },
  { doc: "python read a csv file into a list of rows", code: "def is_even(number):\n    return number % 2 == 0", label: 0 },
  { doc: "python remove duplicates and keep the order", code: "def unique(items):\n    seen = set()\n    return [x for x in items if not (x in seen or seen.add(x))]", label: 1 },
];
