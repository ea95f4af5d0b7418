/** Runs a program that never ends, for a test that kills this process: `node orphan.fixture.ts MARKER`. */
import { runApart } from "./sandbox.ts";
import { enclosingHere } from "./walls.ts";

const [marker = ""] = process.argv.slice(2);
const { enclosure } = await enclosingHere();
const script = `setsid sh -c 'while :; do sleep 1; done # ${marker}' & while :; do sleep 1; done # ${marker}`;
await runApart({ files: {}, phases: [{ name: "run", command: ["/bin/sh", "-c", script], wallMs: 300_000, cpuSeconds: 300 }] }, { enclosure });
