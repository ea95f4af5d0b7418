/** `fedtune api`: serves a model and adapters by OpenAI's protocol until it is stopped. */
import { z } from "zod";
import { FedtuneError } from "../../../core/index.ts";
import { loadApi } from "../api.ts";
import { defineCommand, numeric, text } from "../command.ts";
import { say, tell } from "../context.ts";

/** `name=folder`, or a folder alone, which is called as `adapterName` says. */
function namedAdapters(given: readonly string[], adapterName: (folder: string) => string): Readonly<Record<string, string>> {
  const adapters: Record<string, string> = {};
  for (const one of given) {
    const [, name, folder] = /^([^=/\\]+)=(.+)$/s.exec(one) ?? [undefined, adapterName(one), one];
    if (name === undefined || folder === undefined) continue;
    if (Object.hasOwn(adapters, name)) throw new FedtuneError("config", { where: "fedtune api --adapter", expected: "names that differ", got: `\`${name}\` twice`, remedy: "Give one of them another name: --adapter other=folder" });
    adapters[name] = folder;
  }
  return adapters;
}

export const api = defineCommand({
  summary: "serve a model and adapters by OpenAI's protocol",
  runsModels: true,
  details:
    "Answers /v1/models, /v1/completions (with logprobs and echo) and /v1/chat/completions, streaming or whole; requests of many callers grow together. Each adapter is a model of its own name beside the base. Only this machine reaches it unless --host says otherwise, which needs a key. Nothing that is asked is logged. docs/api.md says how evaluation harnesses and chat front ends are pointed at it.",
  arguments: [["<model>", "folder of a Hugging Face model, or its id on the Hub"]],
  options: {
    adapter: { flags: "--adapter <folder...>", description: "PEFT adapters, each a folder or name=folder", schema: z.array(z.string().min(1)).default([]) },
    revision: { flags: "--revision <name>", description: "branch, tag or commit of a model on the Hub", schema: text },
    host: { flags: "--host <address>", description: "address to listen on (default: 127.0.0.1)", schema: z.string().min(1).default("127.0.0.1") },
    port: { flags: "--port <n>", description: "port to listen on, 0 for any (default: 8000)", schema: numeric(8000, { min: 0, max: 65535, integer: true }) },
    apiKey: { flags: "--api-key <key>", description: "key that callers must send (better: FEDTUNE_API_KEY, which no list of processes shows)", schema: text },
    batch: { flags: "--batch <n>", description: "most texts that grow together (default: 16)", schema: numeric(16, { min: 1, max: 1024, integer: true }) },
    queue: { flags: "--queue <n>", description: "most texts that wait; more are refused with status 429 (default: 1024)", schema: numeric(1024, { min: 1, integer: true }) },
    maxBody: { flags: "--max-body <bytes>", description: "largest request (default: 8388608)", schema: numeric(8 << 20, { min: 1024, integer: true }) },
    precision: { flags: "--precision <name>", description: "how the base is held: float32 (default), int8 or int4", schema: z.enum(["float32", "int8", "int4"]).default("float32") },
    device: { flags: "--device <name>", description: "cpu (default), cuda, webgpu or auto", schema: z.enum(["cpu", "cuda", "webgpu", "auto"]).default("cpu") },
  },
  examples: [
    "fedtune api ../shared/models/minimind2-small",
    "fedtune api ../shared/models/minimind2-small --adapter runs/dolly-1a2b3c/adapter lawyer=adapters/law --port 8080",
    "FEDTUNE_API_KEY=… fedtune api HuggingFaceTB/SmolLM2-135M-Instruct --host 0.0.0.0",
  ],
  async run({ args, options }, context) {
    const { host, port, revision, batch, queue, maxBody, precision, device } = options;
    const apiKey = options.apiKey ?? (process.env["FEDTUNE_API_KEY"] || undefined);
    const [{ openServedModel, adapterName }, { requireKey, startServer }] = await Promise.all([loadApi(), import("../../api/server.ts")]);
    requireKey(host, apiKey);
    const adapters = namedAdapters(options.adapter, adapterName);
    const stopped = Promise.withResolvers<void>();
    const signal = context.interrupt.cooperate(() => {
      say(context, "Stopping: answers in the making may end. Ctrl-C again ends at once.");
      stopped.resolve();
    });
    await using model = await openServedModel({ model: args[0] ?? "", adapters, batchSize: batch, queueSize: queue, ...(revision !== undefined && { revision }), runtime: { base_precision: precision, device } }, signal);
    await using server = await startServer({
      model, host, port, ...(apiKey !== undefined && { apiKey }), maxBodyBytes: maxBody, graceMs: 10_000,
      onFault: (error) => context.stderr.write(`${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`),
    });
    say(context, `Serving ${model.names.map((name) => context.colors.bold(name)).join(", ")} at ${server.url}/v1`);
    tell(context, { type: "serving", url: server.url, models: model.names });
    if (!signal.aborted) await stopped.promise;
    throw new FedtuneError("interrupted", { where: "fedtune api", expected: "to go on serving", got: "a request to stop" });
  },
});
