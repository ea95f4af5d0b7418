/** A comparison as CSV (RFC 4180) in long form: one line for each value, so that any tool can pivot it. */
import type { Comparison } from "./comparison.ts";
import type { RowName } from "./rows.ts";
import { COMPARED } from "./tables.ts";

const COLUMNS = ["federation", "method", "settings", "scenario", "client", "seed", "measure", "value", "low", "high", "n"] as const;
type Line = Readonly<Record<(typeof COLUMNS)[number], string | number | null>>;

/** The file's text: a line of names, then one line for each row, scenario, seed and measure, and one for each client of it where `client` is not empty. Numbers in full, nothing where there is none. */
export function writeCsv(comparison: Comparison): string {
  const lines = [...measured(comparison), ...measuredOfClients(comparison), ...spent(comparison)];
  return [COLUMNS.join(","), ...lines.map((line) => COLUMNS.map((column) => quoteField(line[column])).join(","))].map((line) => `${line}\r\n`).join("");
}

/** A field as CSV has it: in quotes where it holds a comma, a quote or a line end, quotes doubled; null is empty. */
export function quoteField(value: string | number | null): string {
  const text = value === null ? "" : String(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

function nameOf({ federation, method, settings }: RowName): Pick<Line, "federation" | "method" | "settings"> {
  return { federation, method, settings: Object.entries(settings).map(([field, value]) => `${field}=${value}`).join("; ") };
}

function* measured({ tables }: Comparison): Iterable<Line> {
  for (const { key, rows } of tables) {
    for (const row of rows) {
      for (const scenario of COMPARED) {
        for (const { seed, value, low, high, questions } of row.cells[scenario]?.values ?? []) yield { ...nameOf(row), scenario, client: null, seed, measure: key, value, low, high, n: questions };
      }
    }
  }
}

function* measuredOfClients({ clients }: Comparison): Iterable<Line> {
  for (const figure of clients) {
    const { scenario, client, seed, key, value, low, high, questions } = figure;
    yield { ...nameOf(figure), scenario, client, seed, measure: key, value, low, high, n: questions };
  }
}

/** What rounds of the federation took; `n` counts messages or rounds. */
function* spent({ efficiency }: Comparison): Iterable<Line> {
  for (const row of efficiency) {
    for (const { seed, bytesDown, bytesUp, messages, secondsPerRound, rounds, peakBytes } of row.runs) {
      const of = { ...nameOf(row), scenario: "federated", client: null, seed, low: null, high: null };
      yield { ...of, measure: "trainable-parameters", value: row.trainableParameters, n: null };
      yield { ...of, measure: "bytes-down", value: bytesDown, n: messages };
      yield { ...of, measure: "bytes-up", value: bytesUp, n: messages };
      yield { ...of, measure: "seconds-per-round", value: secondsPerRound, n: rounds };
      yield { ...of, measure: "peak-bytes", value: peakBytes, n: rounds };
    }
  }
}
