/** `fedtune export RUN|ADAPTER`: hands an adapter over, in PEFT's format or merged into its model, or takes it out of one again. */
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
    unmerge: { flags: "--unmerge <model>", description: "write a merged model as it was before, the adapter taken out (methods that add to weights)", schema: text },
    model: { flags: "--model <model>", description: "base model (default: the one that the run or the adapter names)", schema: text },
    out: { flags: "--out <folder>", description: "folder to write", schema: text },
  },
  examples: ["fedtune export runs/dolly-1a2b3c --out dolly-adapter", "fedtune export runs/dolly-1a2b3c --merged --out dolly-model", "fedtune export runs/dolly-1a2b3c --unmerge dolly-model --out base-again"],
  async run({ args: [source = ""], options }, context) {
    const forms = [...(options.merged ? ["--merged"] : []), ...(options.peft ? ["--peft"] : []), ...(options.unmerge === undefined ? [] : ["--unmerge"])];
    if (forms.length > 1) throw new FedtuneError("config", { where: "fedtune export", expected: "one of --peft, --merged and --unmerge", got: forms.join(" and "), remedy: "Give one of them" });
    if (options.out === undefined) throw new FedtuneError("config", { where: "fedtune export", expected: "a folder to write (--out <folder>)", got: "none", remedy: "Add --out" });
    const api = await loadApi();
    const format = options.merged ? "merged" : options.unmerge === undefined ? "peft" : "unmerged";
    const model = options.unmerge ?? options.model;
    const written = await api.exportAdapter({ source, format, out: options.out, ...(model !== undefined && { model }) });
    say(context, `${{ merged: "Merged model", unmerged: "Model", peft: "Adapter" }[format]}  ${shortPath(written.folder)} (${written.files.join(", ")})`);
    tell(context, { type: "export", format, ...written });
  },
});
