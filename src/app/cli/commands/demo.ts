/** `fedtune demo`: the packaged experiment, which needs no download: eight characters of Shakespeare and a tiny model. */
import { loadApi } from "../api.ts";
import { defineCommand } from "../command.ts";
import { say } from "../context.ts";
import { followRun } from "../follow-run.ts";
import { packagePath } from "../package-root.ts";

export const demo = defineCommand({
  summary: "a federation of eight in under a minute, without a download",
  runsModels: true,
  details: "Eight characters of Shakespeare's plays teach a 0.26 M-parameter story model how they speak, and none hands over a line. The run goes into ./runs.",
  arguments: [["[key=value...]", "fields of the demo's config to set"]],
  options: {},
  examples: ["fedtune demo", "fedtune demo federation.rounds=20"],
  async run({ args }, context) {
    const api = await loadApi();
    const experiment = api.loadExperiment(packagePath("assets/demo.yaml"), ["output=runs", ...args]);
    say(context, "Eight characters of Shakespeare teach a story model; none hands over a line.");
    await followRun(context, {
      api,
      start: (signal) => api.run(experiment, { signal }),
      next: () => ["Next, a real model:", "  npx fedtune run examples/dolly.yaml model=../shared/models/minimind2-small", "or your own: copy examples/dolly.yaml and name your model and data in it."],
    });
  },
});
