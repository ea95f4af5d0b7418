/**
 * fedtune as a library: what the command line does, from a program. In this repository:
 *
 *   npx node --conditions=fedtune-source examples/library.ts
 *
 * In a project that has installed the package, `node library.ts` is enough.
 */
import { loadExperiment, readRun, run, summarise } from "fedtune";

const experiment = loadExperiment(new URL("own.yaml", import.meta.url).pathname, ["federation.rounds=2", "compare=[base, federated]"]);
const stop = new AbortController();
process.once("SIGINT", () => stop.abort());

const running = run(experiment, { signal: stop.signal });
for await (const event of running) {
  if (event.type === "round-committed") console.log(`round ${event.round}: ${event.updates.map((u) => `client ${u.client} ${u.loss?.toFixed(3)}`).join(", ")}`);
}

const { clients } = summarise(readRun(running.folder).events);
for (const { name, base, federated } of clients) console.log(`${name}: perplexity ${base?.perplexity.toFixed(1)} before, ${federated?.perplexity.toFixed(1)} after`);
