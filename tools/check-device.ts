/**
 * Runs every op, its value and its gradient, on a device and compares with the float64 reference: one JSON line for each
 * case that differs, then a summary; exit 1 where any does. Each line names the ONNX ops that the device left to the CPU.
 * Usage: node tools/check-device.ts [--device webgpu] [--compute float32|float16|bfloat16] [--only OP,OP…] [--all]
 */
import { mkdtempSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { OP_CASES, type OpCase } from "../test/support/op-cases.ts";
import { gradientGraph, valueGraph, type Feeds } from "../test/support/op-graph.ts";
import { relativeError } from "../test/support/numbers.ts";
import { messageOf, must } from "../src/core/base/errors.ts";
import { COMPUTE_DTYPES, type HalfDType } from "../src/core/base/tensor.ts";
import { DEVICES, type Device } from "../src/engine/graph/onnx/emitter.ts";
import type { OpName } from "../src/engine/graph/op-attributes.ts";
import { OPS } from "../src/engine/graph/ops/all.ts";
import type { Graph } from "../src/engine/graph/types.ts";
import { openSession } from "../src/engine/runtime/onnx-session.ts";
import { evaluateReference, toReference } from "../src/engine/runtime/reference.ts";

/** Devices add up products in half precision, too. */
const HALF_TOLERANCE: Readonly<Record<HalfDType, number>> = { float16: 8 * 2 ** -11, bfloat16: 8 * 2 ** -8 };

interface Outcome {
  /** The largest relative error over the outputs. */
  readonly error: number;
  /** ONNX ops that ran on the CPU. */
  readonly onCpu: readonly string[];
}

/** The ops of onnxruntime's profiles in a folder that ran on the CPU. */
function ranOnCpu(folder: string): readonly string[] {
  const ops = readdirSync(folder).flatMap((file) => {
    // onnxruntime writes an array of events; those of nodes carry their op and provider.
    const events = JSON.parse(readFileSync(join(folder, file), "utf8")) as readonly { readonly args?: { readonly op_name?: string; readonly provider?: string } }[];
    return events.flatMap(({ args }) => (args?.provider === "CPUExecutionProvider" && args.op_name !== undefined ? [args.op_name] : []));
  });
  return [...new Set(ops)].sort();
}

async function compare(graph: Graph, feeds: Feeds, device: Device): Promise<Outcome> {
  const folder = mkdtempSync(join(tmpdir(), "fedtune-device-"));
  try {
    let error = 0;
    {
      using session = await openSession(graph, { threads: 1, device, profile: join(folder, "p") });
      const actual = await session.run(feeds);
      const expected = evaluateReference(graph, new Map(Object.entries(feeds).map(([name, t]) => [name, toReference(t)])));
      for (const [name, { data }] of expected) {
        const e = relativeError(must(actual[name], name).data, data);
        error = Number.isNaN(e) ? Infinity : Math.max(error, e);
      }
    }
    return { error, onCpu: ranOnCpu(folder) };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

async function main(): Promise<void> {
  const { values } = parseArgs({ options: { device: { type: "string", default: "webgpu" }, compute: { type: "string", default: "float32" }, only: { type: "string" }, all: { type: "boolean", default: false } } });
  const device = DEVICES.find((name) => name === values.device);
  if (device === undefined) throw new Error(`--device: expected ${DEVICES.join(", ")}, got ${values.device}`);
  const compute = COMPUTE_DTYPES.find((name) => name === values.compute);
  if (compute === undefined) throw new Error(`--compute: expected ${COMPUTE_DTYPES.join(", ")}, got ${values.compute}`);
  const [counts, left] = [{ cases: 0, failed: 0 }, new Set<string>()];
  // Object.keys forgets the key type; OP_CASES has exactly the ops as keys.
  for (const op of Object.keys(OP_CASES) as OpName[]) {
    if (values.only !== undefined && !values.only.split(",").includes(op)) continue;
    if (compute !== "float32" && !["half", "moves", "scores", "stored"].includes(OPS[op].precision)) continue;
    for (const example of OP_CASES[op] as readonly OpCase[]) {
      const learns = typeof OPS[op].gradient === "function" && example.inputs.some((input) => input.learns);
      for (const kind of learns ? ["value", "gradient"] as const : ["value"] as const) {
        const { graph, feeds } = kind === "value" ? valueGraph(op, example, { dtype: compute }) : gradientGraph(op, example, compute);
        const outcome = await compare(graph, feeds, device).catch((error: unknown) => ({ error: Infinity, onCpu: [], message: messageOf(error) }));
        // Devices compute exponentials and roots with a few more roundings than a CPU.
        const ok = outcome.error < (compute === "float32" ? 3 * (example.tolerance ?? 1e-5) : HALF_TOLERANCE[compute]);
        counts.cases++;
        if (!ok) counts.failed++;
        for (const name of outcome.onCpu) left.add(name);
        if (!ok || values.all) console.log(JSON.stringify({ op, shows: example.shows, kind, ok, ...outcome }));
      }
    }
  }
  console.log(JSON.stringify({ device, ...counts, onCpu: [...left].sort() }));
  process.exitCode = counts.failed > 0 ? 1 : 0;
}

await main();
