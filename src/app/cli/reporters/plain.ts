/** Progress where nobody watches: one line per round, evaluation, note and failure. No colours, no cursor movement. */
import { formatLoss } from "../../report/index.ts";
import type { RunEvent } from "../api.ts";
import type { Output } from "../context.ts";
import { addEvent, NO_PROGRESS, phaseOf, viewProgress } from "../progress.ts";
import type { Reporter } from "./reporter.ts";
import { describeBenchmark, describeEvaluation, describeRate, describeStart, describeTimeLeft, PHASE_NAMES } from "./wording.ts";

export function createPlainReporter(stdout: Output): Reporter {
  let progress = NO_PROGRESS;
  const stages = new Set<string>();
  let lastRound: string | undefined;
  const line = (text: string): void => void stdout.write(`${text}\n`);
  return {
    catchUp: (events) => {
      for (const event of events) progress = addEvent(progress, event);
    },
    add: (event) => {
      progress = addEvent(progress, event);
      if (event.type === "progress") {
        // "test rows: federated", "test rows: global", …: the kind of work once, not each piece of it.
        const [kind = event.stage] = event.stage.split(":");
        if (!stages.has(kind)) line(`${kind} …`);
        stages.add(kind);
        return;
      }
      const round = event.type === "round-committed" ? describeRound(event) : undefined;
      // Clients alone commit one by one; their round is one line, written with the last of them.
      if (round !== undefined && round !== lastRound) line(round);
      if (round !== undefined) lastRound = round;
      const other = describe(event);
      if (other !== undefined) line(other);
    },
    stopping: () => line("stopping after the running step …"),
    [Symbol.dispose]: () => undefined,
  };

  function describeRound(event: Extract<RunEvent, { type: "round-committed" }>): string | undefined {
    const view = viewProgress(progress, Date.parse(event.at));
    const phase = phaseOf(event.scenario);
    const state = progress.phases.get(phase);
    if (state !== undefined && state.committed < event.round * state.scenarios) return undefined;
    const trained = event.updates.filter((u) => u.loss !== null);
    const loss = phase === "alone" ? view.loss : mean(trained.map((u) => u.loss ?? 0));
    const clients = phase === "pooled" ? undefined : `${phase === "alone" ? view.clients : event.updates.length} of ${view.clients} clients`;
    const parts = [`loss ${formatLoss(loss)}`, clients, describeRate(view), describeTimeLeft(view)].filter((part) => part !== undefined);
    return `${PHASE_NAMES[phase]} round ${event.round}/${view.rounds}: ${parts.join(", ")}`;
  }
}

function mean(values: readonly number[]): number | undefined {
  return values.length === 0 ? undefined : values.reduce((a, b) => a + b, 0) / values.length;
}

function describe(event: RunEvent): string | undefined {
  switch (event.type) {
    case "run-started":
      return describeStart(event);
    case "run-resumed":
      return "resumed";
    case "benchmarked":
      return describeBenchmark(event);
    case "note":
      return event.level === "warning" ? `warning: ${event.text}` : event.text;
    case "evaluated":
      return event.split === "validation" && !event.scenario.startsWith("local/")
        ? `${event.scenario === "base" ? "base" : `${PHASE_NAMES[phaseOf(event.scenario)]} after round ${event.round}`}: validation perplexity ${describeEvaluation(event)}${event.best && event.scenario !== "base" ? " (best so far)" : ""}`
        : undefined;
    case "round-committed":
      return event.failures.length === 0 ? undefined : event.failures.map((f) => `warning: round ${event.round} of ${event.scenario}, client ${f.client} failed: ${f.reason}`).join("\n");
    default:
      return undefined;
  }
}
