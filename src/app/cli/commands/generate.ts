/** `fedtune generate`: continues one prompt, streaming. */
import { z } from "zod";
import { loadApi } from "../api.ts";
import { defineCommand } from "../command.ts";
import { say, tell } from "../context.ts";
import { printable } from "../text-layout.ts";
import { textOptions, toTextOptions } from "../text-options.ts";

export const generate = defineCommand({
  summary: "continue a prompt with a model and, if wanted, an adapter",
  runsModels: true,
  details: "The prompt is taken as it is; `fedtune chat` uses the model's chat template.",
  options: {
    prompt: { flags: "--prompt <text>", description: "text to continue", schema: z.string("expected a prompt").min(1) },
    ...textOptions(0),
  },
  examples: ['fedtune generate --model ../shared/models/stories260k --prompt "Once upon a time"', 'fedtune generate --model HuggingFaceTB/SmolLM2-135M --adapter runs/dolly-1a2b3c/adapter --prompt "### Instruction:" --temperature 0.8 --top-p 0.9 --seed 7'],
  async run({ options }, context) {
    const api = await loadApi();
    const started = context.now();
    const signal = context.interrupt.cooperate();
    // Nothing is written before the model answers: an error stands alone.
    let shown = context.json;
    const show = (piece: string): void => {
      if (!shown) context.stdout.write(context.colors.dim(printable(options.prompt)));
      shown = true;
      if (!context.json) context.stdout.write(printable(piece));
    };
    const result = await api.generate({ ...toTextOptions(options), prompt: options.prompt }, { signal, onText: show });
    show("");
    say(context);
    const seconds = (context.now() - started) / 1000;
    tell(context, { type: "generated", prompt: options.prompt, ...result, seconds });
  },
});
