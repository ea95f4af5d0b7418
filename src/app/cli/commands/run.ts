/** `fedtune run FILE [key=value …]`: runs an experiment, or says what it would do. */
import { loadApi } from "../api.ts";
import { defineCommand, flag } from "../command.ts";
import { say, tell } from "../context.ts";
import { describeMatrix, followMatrix } from "../follow-matrix.ts";
import { followRun } from "../follow-run.ts";

export const run = defineCommand({
  summary: "run an experiment",
  runsModels: true,
  details: "A config with `matrix:` is worked off cell by cell; cells that an equal run has done already are not done again. Fields of the config can be set on the command line: federation.rounds=3 training.learning_rate=1e-4. Paths in the config are relative to the config, on the command line to the working directory.",
  arguments: [
    ["<file>", "experiment (YAML)"],
    ["[key=value...]", "fields to set"],
  ],
  options: {
    dryRun: { flags: "--dry-run", description: "say what the run would do, and what it would take, without doing it", schema: flag },
  },
  examples: ["fedtune run examples/dolly.yaml model=../shared/models/minimind2-small", "fedtune run examples/dolly.yaml federation.rounds=3 --dry-run", "fedtune run examples/fsllm/laptop/fed-dolly.yaml seed=1", "fedtune run my-experiment.yaml --json > events.jsonl"],
  async run({ args: [file = "", ...overrides], options }, context) {
    const api = await loadApi();
    const matrix = api.loadMatrix(file, overrides);
    const [{ experiment } = { experiment: api.loadExperiment(file, overrides) }] = matrix.cells;
    if (options.dryRun) {
      const plan = await api.dryRun(experiment);
      if (matrix.axes.length > 0) for (const line of describeMatrix(matrix)) say(context, line);
      for (const line of plan.lines) say(context, line);
      tell(context, plan);
      return;
    }
    if (matrix.axes.length > 0) return await followMatrix(context, { api, matrix, again: `npx fedtune run ${[file, ...overrides].join(" ")}` });
    // An adapter trained on the model's own chat template can be talked to; any other continues a prompt.
    const talk = experiment.config.data.template === "chat" ? "chat" : 'generate --prompt "…"';
    await followRun(context, {
      api,
      start: (signal) => api.run(experiment, { signal }),
      next: (folder) => [`Try it: npx fedtune ${talk} --model ${experiment.config.model} --adapter ${folder}/adapter`],
    });
  },
});
