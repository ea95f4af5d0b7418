/**
 * Live progress on a terminal: one block at the bottom, rewritten in place at most ten times per second in a single write;
 * what is worth keeping (start, notes, evaluations, failures, a phase that ended) goes above it as lines that stay.
 */
import { formatSeconds, formatThings } from "../../report/index.ts";
import type { RunEvent, Scenario } from "../api.ts";
import type { Colors, Output } from "../context.ts";
import { addEvent, NO_PROGRESS, phaseOf, viewProgress } from "../progress.ts";
import { printable, wrap } from "../text-layout.ts";
import type { Reporter } from "./reporter.ts";
import { drawStatus } from "./status.ts";
import { describeEvaluation, describeStart, PHASE_NAMES } from "./wording.ts";

/** Between two drawings. */
const DRAW_MS = 100;
/** Between two drawings while nothing happens, so that the clock runs. */
const IDLE_MS = 1000;

const HIDE_CURSOR = "\u001b[?25l";
const SHOW_CURSOR = "\u001b[?25h";
const ERASE_TO_LINE_END = "\u001b[K";
const ERASE_BELOW = "\u001b[J";

export interface TerminalOptions {
  readonly colors: Colors;
  readonly now: () => number;
  /** Calls a function again and again until the returned function is called. */
  readonly every: (milliseconds: number, draw: () => void) => () => void;
}

export function createTerminalReporter(stdout: Output, { colors, now, every }: TerminalOptions): Reporter {
  let progress = NO_PROGRESS;
  let drawnLines = 0;
  let drawnAt = -Infinity;
  let dirty = false;
  let stopping = false;
  let closed = false;
  const width = (): number => Math.max(20, (stdout.columns ?? 80) - 1);

  /** Puts lines that stay above the block and the block below them, in one write. */
  const draw = (kept: readonly string[] = []): void => {
    if (closed) return;
    const block = drawStatus(viewProgress(progress, now()), { width: width(), colors, stopping });
    const up = drawnLines > 0 ? `\u001b[${drawnLines}A\r` : "\r";
    stdout.write(up + [...kept, ...block].map((line) => `${line}${ERASE_TO_LINE_END}\n`).join("") + ERASE_BELOW);
    drawnLines = block.length;
    drawnAt = now();
    dirty = false;
  };
  const keep = (text: string, paint: (line: string) => string = (line) => line): void => draw(wrap(printable(text), width()).map(paint));
  stdout.write(HIDE_CURSOR);
  const stopTimer = every(DRAW_MS, () => {
    if (now() - drawnAt >= (dirty ? DRAW_MS : IDLE_MS)) draw();
  });

  return {
    catchUp: (events) => {
      for (const event of events) progress = addEvent(progress, event);
    },
    add: (event) => {
      progress = addEvent(progress, event);
      dirty = true;
      const kept = describeKept(event);
      if (kept !== undefined) keep(kept.text, kept.warning ? colors.yellow : undefined);
      else if (now() - drawnAt >= DRAW_MS) draw();
    },
    stopping: () => {
      stopping = true;
      draw();
    },
    [Symbol.dispose]: () => {
      if (closed) return;
      closed = true;
      stopTimer();
      stdout.write(`${drawnLines > 0 ? `\u001b[${drawnLines}A\r${ERASE_BELOW}` : ""}${SHOW_CURSOR}`);
    },
  };

  function describeKept(event: RunEvent): { readonly text: string; readonly warning: boolean } | undefined {
    const plain = (text: string): { text: string; warning: boolean } => ({ text, warning: false });
    switch (event.type) {
      case "run-started":
        return plain(describeStart(event));
      case "run-resumed":
        return plain("resumed");
      case "note":
        return { text: event.text, warning: event.level === "warning" };
      case "evaluated":
        return event.scenario === "base" && event.split === "validation" ? plain(`base: validation perplexity ${describeEvaluation(event)}`) : undefined;
      case "round-committed": {
        const end = describePhaseEnd(event.scenario);
        if (event.failures.length === 0) return end === undefined ? undefined : plain(end);
        const failed = event.failures.map((f) => `round ${event.round} of ${event.scenario}, client ${f.client} failed: ${f.reason}`);
        return { text: [...failed, ...(end === undefined ? [] : [end])].join("\n"), warning: true };
      }
      default:
        return undefined;
    }
  }

  /** One line once all rounds of a phase are committed. */
  function describePhaseEnd(scenario: Scenario): string | undefined {
    const phase = phaseOf(scenario);
    const state = progress.phases.get(phase);
    if (state === undefined || state.committed < progress.rounds * state.scenarios) return undefined;
    const took = state.startedAtMs === undefined ? "" : ` in ${formatSeconds((state.lastAtMs - state.startedAtMs) / 1000)}`;
    return `✓ ${PHASE_NAMES[phase]}: ${formatThings(progress.rounds, "round")}${took}`;
  }
}
