/** The sections made of words: text samples before and after, what went wrong, notes, the config and the versions. */
import { scenarioName } from "../facts.ts";
import type { RunFacts, Trouble } from "../facts.ts";
import { formatCount, formatSeconds, formatThings } from "../format.ts";
import { html } from "../html.ts";
import type { Markup } from "../html.ts";

/** Each prompt with what the base and the trained adapters wrote after it. */
export function samplesSection(facts: RunFacts): Markup | undefined {
  const prompts = [...new Set(facts.samples.map((s) => s.prompt))];
  if (prompts.length === 0) return undefined;
  const order = (scenario: string): number => ["base", "global", "federated"].indexOf(scenario) + (scenario.startsWith("local/") ? 1.5 : 0);
  const one = (prompt: string): Markup => {
    const texts = facts.samples.filter((s) => s.prompt === prompt).sort((a, b) => order(a.scenario) - order(b.scenario));
    return html`<div class="sample"><p class="prompt">${prompt}</p><div class="answers">${texts.map(
      (s) => html`<div><h4>${s.scenario === "base" ? "before" : s.scenario === "federated" ? "after (federated)" : scenarioName(facts, s.scenario)}</h4><p>${s.text}</p></div>`,
    )}</div></div>`;
  };
  return html`<section><h3>Text before and after</h3>${prompts.map(one)}</section>`;
}

const MOST_TROUBLES = 40;

/** Failed clients, skipped steps and notes; says so where there were none. */
export function troubleSection(facts: RunFacts): Markup {
  const troubles: readonly Trouble[] = [...facts.failures, ...facts.skipped];
  const list = troubles.slice(0, MOST_TROUBLES).map((t) => html`<li>Round ${t.round} of ${scenarioName(facts, t.scenario)}, ${clientLabel(facts, t)}: ${t.text}</li>`);
  const more = troubles.length > MOST_TROUBLES ? html`<li>… and ${troubles.length - MOST_TROUBLES} more in the run’s journal</li>` : undefined;
  const resumed = facts.resumes === 0 ? undefined : html`<li>The run was interrupted and resumed ${facts.resumes === 1 ? "once" : `${facts.resumes} times`}.</li>`;
  const notes = facts.notes.map((n) => html`<li class="${n.level}">${n.text}</li>`);
  return html`<section><h3>Failures, skipped steps and notes</h3>
${troubles.length === 0 ? html`<p>No client failed and no step was skipped.</p>` : html`<ul class="trouble">${list}${more}</ul>`}
${notes.length === 0 && resumed === undefined ? undefined : html`<ul>${resumed}${notes}</ul>`}</section>`;
}

function clientLabel(facts: RunFacts, { client }: Trouble): string {
  return facts.started?.clients[client]?.name ?? "all data pooled";
}

/** The config as resolved, and which versions of what ran on which machine. */
export function setupSection(facts: RunFacts, configYaml: string, versions: Readonly<Record<string, string>>): Markup {
  const { started, finished } = facts;
  const lines: [string, string][] = [];
  if (started !== undefined) {
    lines.push(
      ["started", started.at.replace("T", " ").replace(/(\.\d+)?Z$/, " UTC")],
      ["training", `${formatThings(started.rounds, "round")} of ${formatThings(started.localSteps, "step")}, ${formatThings(started.batchSize, "example")} each`],
      ["parameters", `${formatCount(started.trainableParameters)} trained of ${formatCount(started.baseParameters)}`],
      ["machine", started.device === undefined ? started.machine : `${started.machine}; ${started.device}`],
      ["plan", started.plan.slice(0, 12)],
    );
  }
  if (finished !== undefined) {
    lines.push(["took", formatSeconds(finished.seconds)]);
    const { kept } = finished;
    if (kept !== undefined) lines.push(["adapter", `${scenarioName(facts, kept.scenario)}, ${kept.chosen} round (${kept.chosen === "best" ? kept.bestRound : kept.lastRound}), ${(kept.chosen === "best" ? kept.best : kept.last).slice(0, 12)}`]);
  }
  const rows = [...lines, ...Object.entries(versions)];
  return html`<section><h3>Config and versions</h3>
<dl class="facts">${rows.map(([name, value]) => html`<div><dt>${name}</dt><dd>${value}</dd></div>`)}</dl>
<pre tabindex="0"><code>${configYaml.trimEnd()}</code></pre></section>`;
}
