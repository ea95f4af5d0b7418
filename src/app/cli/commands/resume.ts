/** `fedtune resume RUN`: goes on with a run that was interrupted, to the same bytes. */
import { loadApi } from "../api.ts";
import { defineCommand } from "../command.ts";
import { followMatrix } from "../follow-matrix.ts";
import { followRun, shortPath } from "../follow-run.ts";

export const resume = defineCommand({
  summary: "go on with a run that was interrupted",
  runsModels: true,
  details: "A run or a matrix. The run ends with the same adapter, to the byte, as if nothing had happened. It is refused where model, data or plan have changed since.",
  arguments: [["<run>", "folder of the run, or of a matrix of them"]],
  options: {},
  examples: ["fedtune resume runs/dolly-1a2b3c"],
  async run({ args: [folder = ""] }, context) {
    const api = await loadApi();
    if (api.isMatrixFolder(folder)) return await followMatrix(context, { api, matrix: api.readMatrix(folder), again: `npx fedtune resume ${shortPath(folder)}` });
    const { events } = api.readRun(folder);
    await followRun(context, { api, earlier: events, start: (signal) => api.resume(folder, { signal }), next: (at) => [`Compare runs: npx fedtune report ${at} runs/other`] });
  },
});
