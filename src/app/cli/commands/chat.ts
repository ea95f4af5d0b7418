/** `fedtune chat`: a conversation on the terminal; from a pipe each line is one message. */
import { createInterface } from "node:readline/promises";
import { loadApi } from "../api.ts";
import { defineCommand, text } from "../command.ts";
import { say, tell } from "../context.ts";
import { printable } from "../text-layout.ts";
import { textOptions, toTextOptions } from "../text-options.ts";

export const chat = defineCommand({
  summary: "talk with a model and, if wanted, an adapter",
  runsModels: true,
  details: "Uses the model's chat template and remembers the conversation. /reset forgets it, /exit or Ctrl-D ends. From a pipe each line is one message.",
  options: {
    system: { flags: "--system <text>", description: "system prompt", schema: text },
    ...textOptions(0.7),
  },
  examples: ["fedtune chat --model ../shared/models/minimind2-small", "fedtune chat --model ../shared/models/minimind2-small --adapter runs/dolly-1a2b3c/adapter", 'echo "Why is the sky blue?" | fedtune chat --model ../shared/models/minimind2-small --json'],
  async run({ options }, context) {
    const api = await loadApi();
    await using session = await api.openChat({ ...toTextOptions(options), ...(options.system !== undefined && { system: options.system }) });
    const terminal = !context.json && context.stdout.isTTY === true && process.stdin.isTTY;
    const lines = createInterface({ input: process.stdin, ...(terminal && { output: process.stdout }), terminal });
    const stopAll = context.interrupt.cooperate(() => lines.close());
    let answering: AbortController | undefined;
    if (terminal) {
      say(context, context.colors.dim("/reset forgets the conversation, Ctrl-C stops an answer, /exit or Ctrl-D ends."));
      lines.on("SIGINT", () => (answering === undefined ? lines.close() : answering.abort()));
      lines.setPrompt(context.colors.bold("you> "));
      lines.prompt();
    }
    for await (const line of lines) {
      const message = line.trim();
      if (message === "/exit") break;
      if (message === "/reset") session.reset();
      else if (message !== "") {
        answering = new AbortController();
        const { signal } = answering;
        try {
          const answer = await session.send(message, { signal: AbortSignal.any([stopAll, signal]), onText: (piece) => void (context.json || context.stdout.write(printable(piece))) });
          tell(context, { type: "answer", message, ...answer });
        } catch (error) {
          // Only this answer was stopped; the conversation goes on without it.
          if (!signal.aborted || stopAll.aborted) throw error;
        }
        answering = undefined;
        say(context);
      }
      if (terminal) lines.prompt();
    }
    lines.close();
    if (terminal) say(context);
  },
});
