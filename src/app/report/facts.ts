/**
 * What a report needs of one run, as a pure fold of its events: commits by scenario, evaluations, samples, failures,
 * skipped steps and notes. Which figures are shown of it is the business of `result-table.ts` and of the sections.
 */
import type { JournalEvent, RunEvent, Scenario } from "../../index.ts";

type EventOf<Type extends JournalEvent["type"]> = Extract<JournalEvent, { type: Type }>;

export type RunStarted = EventOf<"run-started">;
export type RoundCommitted = EventOf<"round-committed">;
export type Evaluated = EventOf<"evaluated">;
export type Benchmarked = EventOf<"benchmarked">;
export type Sampled = EventOf<"sampled">;
export type RunFinished = EventOf<"run-finished">;
export type { RunEvent, Scenario };

/** Something that went wrong for one client in one round. */
export interface Trouble {
  readonly scenario: Scenario;
  readonly round: number;
  readonly client: number;
  /** A sentence for people. */
  readonly text: string;
}

export interface RunFacts {
  readonly started: RunStarted | undefined;
  readonly finished: RunFinished | undefined;
  /** Committed rounds by scenario, in order of round. */
  readonly commits: ReadonlyMap<Scenario, readonly RoundCommitted[]>;
  /** All evaluations in order of time. */
  readonly evaluations: readonly Evaluated[];
  readonly samples: readonly Sampled[];
  /** Benchmarks in order of time. */
  readonly benchmarks: readonly Benchmarked[];
  /** Clients whose round failed, and clients that left out steps which were not finite. */
  readonly failures: readonly Trouble[];
  readonly skipped: readonly Trouble[];
  readonly notes: readonly { readonly level: "info" | "warning"; readonly text: string }[];
  readonly resumes: number;
}

/**
 * Folds the events of one run, in order. A round or evaluation that appears twice (a resume may yield what it read)
 * counts once, the later one holding.
 */
export function collectFacts(events: Iterable<RunEvent>): RunFacts {
  let started: RunStarted | undefined;
  let finished: RunFinished | undefined;
  let resumes = 0;
  const commits = new Map<Scenario, Map<number, RoundCommitted>>();
  const evaluations = new Map<string, Evaluated>();
  const samples = new Map<string, Sampled>();
  const benchmarks = new Map<string, Benchmarked>();
  const notes = new Map<string, { level: "info" | "warning"; text: string }>();
  for (const event of events) {
    switch (event.type) {
      case "run-started":
        started = event;
        break;
      case "run-finished":
        finished = event;
        break;
      case "run-resumed":
        resumes += 1;
        break;
      case "round-committed": {
        const rounds = commits.get(event.scenario) ?? new Map<number, RoundCommitted>();
        commits.set(event.scenario, rounds.set(event.round, event));
        break;
      }
      case "evaluated":
        evaluations.set(`${event.scenario} ${event.round} ${event.split}`, event);
        break;
      case "sampled":
        samples.set(`${event.scenario} ${event.prompt}`, event);
        break;
      case "note":
        notes.set(event.text, { level: event.level, text: event.text });
        break;
      case "benchmarked":
        benchmarks.set(`${event.scenario} ${event.place}`, event);
        break;
      case "round-started":
      case "step":
      case "progress":
        break;
      default:
        event satisfies never;
    }
  }
  const inOrder = new Map([...commits].map(([scenario, rounds]) => [scenario, [...rounds.values()].sort((a, b) => a.round - b.round)]));
  return {
    started,
    finished,
    commits: inOrder,
    evaluations: [...evaluations.values()],
    samples: [...samples.values()],
    benchmarks: [...benchmarks.values()],
    ...collectTroubles(inOrder),
    notes: [...notes.values()],
    resumes,
  };
}

function collectTroubles(commits: ReadonlyMap<Scenario, readonly RoundCommitted[]>): { failures: Trouble[]; skipped: Trouble[] } {
  const failures: Trouble[] = [];
  const skipped: Trouble[] = [];
  for (const [scenario, rounds] of commits) {
    for (const { round, updates, failures: failed } of rounds) {
      for (const { client, code, reason } of failed) failures.push({ scenario, round, client, text: `${reason} (${code})` });
      for (const { client, skippedSteps, steps } of updates) {
        if (skippedSteps > 0) skipped.push({ scenario, round, client, text: `left out ${skippedSteps} of ${steps + skippedSteps} steps whose loss or gradient was not finite` });
      }
    }
  }
  return { failures, skipped };
}

/** The name people see for a client; its number where the run did not start. */
function clientName(facts: RunFacts, client: number): string {
  return facts.started?.clients[client]?.name ?? `client ${client}`;
}

/** "the federation", "all data pooled", or "Juliet alone". */
export function scenarioName(facts: RunFacts, scenario: Evaluated["scenario"]): string {
  if (scenario === "base") return "the base";
  if (scenario === "federated") return "the federation";
  if (scenario === "global") return "all data pooled";
  return `${clientName(facts, Number(scenario.slice("local/".length)))} alone`;
}
