/** Runs a program that never ends, for a test that kills this process: `node orphan.fixture.ts MARKER [bare]`. */
import { bare } from "./bare.ts";
import { runApart } from "./sandbox.ts";
import { enclosingHere } from "./walls.ts";

const [marker = "", way] = process.argv.slice(2);
const enclosure = way === "bare" ? bare : (await enclosingHere()).enclosure;
const loop = `while :; do sleep 1; done # ${marker}`;
// Without walls a daemon that takes a session of its own is not found once its run is over.
const script = way === "bare" ? `sh -c '${loop}' & ${loop}` : `setsid sh -c '${loop}' & ${loop}`;
await runApart({ files: {}, phases: [{ name: "run", command: ["/bin/sh", "-c", script], wallMs: 300_000, cpuSeconds: 300 }] }, { enclosure });
