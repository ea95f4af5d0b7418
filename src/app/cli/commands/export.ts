/** `fedtune export RUN|ADAPTER`: hands an adapter over, in PEFT's format or merged into its model. */
import { FedtuneError } from "../../../core/index.ts";
import { loadApi } from "../api.ts";
import { defineCommand, flag, text } from "../command.ts";
import { say, tell } from "../context.ts";
import { shortPath } from "../follow-run.ts";

export const exportCommand = defineCommand({
  summary: "hand an adapter over, in PEFT's format or merged into its model",
  arguments: [["<run-or-adapter>", "folder of a run, or of a PEFT adapter"]],
  options: {
    peft: { flags: "--peft", description: "write adapter_config.json and adapter_model.safetensors (default)", schema: flag },
    merged: { flags: "--merged", description: "write the whole model with the adapter merged into its weights", schema: flag },
    model: { flags: "--model <model>", description: "base model (default: the one that the run or the adapter names)", schema: text },
    out: { flags: "--out <folder>", description: "folder to write", schema: text },
  },
  examples: ["fedtune export runs/dolly-1a2b3c --out dolly-adapter", "fedtune export runs/dolly-1a2b3c --merged --out dolly-model"],
  async run({ args: [source = ""], options }, context) {
    if (options.merged && options.peft) throw new FedtuneError("config", { where: "fedtune export", expected: "--peft or --merged", got: "both", remedy: "Give one of them" });
    if (options.out === undefined) throw new FedtuneError("config", { where: "fedtune export", expected: "a folder to write (--out <folder>)", got: "none", remedy: "Add --out" });
    const api = await loadApi();
    const format = options.merged ? "merged" : "peft";
    const written = await api.exportAdapter({ source, format, out: options.out, ...(options.model !== undefined && { model: options.model }) });
    say(context, `${format === "merged" ? "Merged model" : "Adapter"}  ${shortPath(written.folder)} (${written.files.join(", ")})`);
    tell(context, { type: "export", format, ...written });
  },
});
