/** The block that shows a run's progress in a terminal, as lines of text that fit its width. Writing it is `terminal.ts`'s part. */
import { formatLoss, formatSeconds } from "../../report/index.ts";
import type { Colors } from "../context.ts";
import type { ProgressView } from "../progress.ts";
import { fit } from "../text-layout.ts";
import { describeRate, describeTimeLeft, PHASE_NAMES } from "./wording.ts";

const BAR_WIDTH = 24;

/** Two lines of at most `width` characters, colours not counted: what is trained and how far; loss, rate and time. */
export function drawStatus(view: ProgressView, { width, colors, stopping }: { readonly width: number; readonly colors: Colors; readonly stopping: boolean }): readonly string[] {
  const state = stopping ? "stopping after the running step" : view.stage === undefined ? undefined : describeStage(view.stage);
  const percent = `${String(Math.floor(view.fraction * 100)).padStart(3)} %`;
  const phase = view.phase === undefined ? "preparing" : PHASE_NAMES[view.phase];
  const of = view.phaseCount > 1 && view.phase !== undefined ? ` (${view.phaseNumber} of ${view.phaseCount})` : "";
  const round = view.phase === undefined ? "" : `  round ${view.round}/${view.rounds}`;
  const clients = view.phase === undefined || view.phase === "pooled" ? "" : `  clients ${view.clientsDone}/${view.clients}`;
  const words = `${percent} ${phase}${of}${round}${clients}`;
  const barWidth = Math.min(BAR_WIDTH, width - 1 - words.length);
  const filled = Math.round(barWidth * view.fraction);
  // Without room for a bar worth looking at: words only.
  const first = barWidth < 6 ? fit(words.trim(), width) : `${colors.cyan("█".repeat(filled))}${colors.dim("░".repeat(barWidth - filled))} ${percent} ${colors.bold(phase)}${colors.dim(of)}${round}${clients}`;
  const figures = [
    view.loss === undefined ? undefined : `loss ${formatLoss(view.loss)}`,
    describeRate(view),
    `${formatSeconds(view.secondsElapsed)} so far`,
    describeTimeLeft(view),
  ].filter((part) => part !== undefined);
  const second = state === undefined ? figures.join("  ") : [state, ...(stopping ? [] : [`${formatSeconds(view.secondsElapsed)} so far`])].join("  ");
  return [first, fit(second, width)];
}

function describeStage({ name, done, total }: { readonly name: string; readonly done: number; readonly total: number }): string {
  return total === 0 ? name : `${name} ${done}/${total}`;
}
