/** The one error class of fedtune: a code, the facts as data, and a sentence that says what to do. */
import { distance } from "fastest-levenshtein";

/** Kinds of fault, each with the exit code that the command line documents. */
export const EXIT_CODES = {
  internal: 1,
  config: 2,
  data: 3,
  model: 4,
  resources: 5,
  federation: 6,
  interrupted: 130,
} as const;

export type ErrorCode = keyof typeof EXIT_CODES;

export interface ErrorParts {
  /** Where it happened: a file and line, a config path, an op and node, a client and round. */
  readonly where: string;
  readonly expected: string;
  readonly got: string;
  /** What the reader can do about it: one sentence. */
  readonly remedy?: string;
  readonly details?: Readonly<Record<string, unknown>>;
  readonly cause?: unknown;
}

/** A fault that a person can act on. Its message reads "where: expected X, got Y. Remedy." */
export class FedtuneError extends Error {
  override readonly name = "FedtuneError";
  readonly code: ErrorCode;
  readonly details: Readonly<Record<string, unknown>>;

  constructor(code: ErrorCode, parts: ErrorParts) {
    const remedy = (parts.remedy ?? "") === "" ? "" : ` ${(parts.remedy ?? "").replace(/([^.?!])$/, "$1.")}`;
    super(`${parts.where}: expected ${parts.expected}, got ${parts.got}.${remedy}`, parts.cause === undefined ? {} : { cause: parts.cause });
    this.code = code;
    this.details = { where: parts.where, expected: parts.expected, got: parts.got, ...parts.details };
  }

  /** The exit code of the command line for this kind of fault (1 to 6, 130). */
  get exitCode(): number {
    return EXIT_CODES[this.code];
  }
}

/** A stop asked for by the user (a signal or an AbortSignal); the run can be resumed. */
export function interrupted(where: string): FedtuneError {
  return new FedtuneError("interrupted", { where, expected: "to run to the end", got: "a request to stop", remedy: "Continue with `fedtune resume`" });
}

/** The option nearest to `name` by edit distance, or undefined where none is near (over half of the name's length). */
export function nearest(name: string, options: Iterable<string>): string | undefined {
  let best: string | undefined;
  let bestDistance = Infinity;
  for (const option of options) {
    const d = distance(name.toLowerCase(), option.toLowerCase());
    if (d < bestDistance) [best, bestDistance] = [option, d];
  }
  return bestDistance <= Math.max(2, name.length / 2) ? best : undefined;
}

/** " Did you mean `x`?" where an option is near, else "". */
export function didYouMean(name: string, options: Iterable<string>): string {
  const near = nearest(name, options);
  return near === undefined ? "" : `Did you mean \`${near}\`?`;
}

/** The message of anything that was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Fails on a state that the types say cannot be; a bug in fedtune, never a fault of its user. */
export function unreachable(value: never, what: string): never {
  throw new Error(`${what}: unexpected ${JSON.stringify(value)}`);
}

/** `value`, or a thrown bug report where it is undefined: for look-ups that the code around them guarantees. */
export function must<T>(value: T | undefined | null, what: string): T {
  if (value === undefined || value === null) throw new Error(`internal: ${what} is missing`);
  return value;
}
