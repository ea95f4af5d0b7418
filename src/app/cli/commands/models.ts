/** `fedtune models`: which architectures work under which adapter methods, and what was compared with PyTorch. */
import { loadApi } from "../api.ts";
import { defineCommand } from "../command.ts";
import { say, tell } from "../context.ts";
import { layoutTable } from "../text-layout.ts";

export const models = defineCommand({
  summary: "list the architectures and adapter methods, and what was compared with PyTorch",
  options: {},
  examples: ["fedtune models", "fedtune models --json"],
  async run(_input, context) {
    const { supportTable } = await loadApi();
    const support = supportTable();
    const architectures = [...new Set(support.map((s) => s.architecture))];
    const methods = [...new Set(support.map((s) => s.method))];
    const cell = (architecture: string, method: string): string => {
      const found = support.find((s) => s.architecture === architecture && s.method === method);
      if (found?.without !== undefined) return "–";
      return (found?.cases.length ?? 0) > 0 ? "✓" : "·";
    };
    // One column a character wide for each architecture, named by number under the table: it fits 80 columns.
    const columns = [{ heading: "", align: "left" as const }, ...architectures.map((_, i) => ({ heading: String(i + 1), align: "right" as const }))];
    for (const line of layoutTable(columns, methods.map((method) => [method, ...architectures.map((a) => cell(a, method))]), context.stdout.columns ?? 80)) say(context, line);
    say(context, "");
    architectures.forEach((name, i) => say(context, `${String(i + 1).padStart(2)} ${name}`));
    say(context, "");
    say(context, "✓ losses, logits, gradients and training steps equal PyTorch's   · checked against its equations   – does not fit");
    const reasons = new Map(support.flatMap((s): [string, string[]][] => (s.without === undefined ? [] : [[`${s.method}: ${s.without}`, support.filter((o) => o.method === s.method && o.without === s.without).map((o) => o.architecture)]])));
    for (const [reason, names] of reasons) say(context, `– ${reason} (${names.join(", ")})`);
    for (const s of support) tell(context, { type: "support", ...s });
  },
});
