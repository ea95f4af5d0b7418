/** `fedtune resume RUN`: goes on with a run that was interrupted, to the same bytes. */
import { loadApi } from "../api.ts";
import { defineCommand } from "../command.ts";
import { followRun } from "../follow-run.ts";

export const resume = defineCommand({
  summary: "go on with a run that was interrupted",
  details: "The run ends with the same adapter, to the byte, as if nothing had happened. It is refused where model, data or plan have changed since.",
  arguments: [["<run>", "folder of the run"]],
  options: {},
  examples: ["fedtune resume runs/dolly-1a2b3c"],
  async run({ args: [folder = ""] }, context) {
    const api = await loadApi();
    const { events } = api.readRun(folder);
    await followRun(context, { api, earlier: events, start: (signal) => api.resume(folder, { signal }), next: (at) => [`Compare runs: npx fedtune report ${at} runs/other`] });
  },
});
