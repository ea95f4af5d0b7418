/**
 * Checks folders of recorded PyTorch truths (made like `goldens/make.py`) against fedtune: one JSON line a case, exit 1 on failure.
 * Usage: npm run golden -- FOLDER… [--models DIR]… [--device cpu|cuda|webgpu] [--compute float32|float16|bfloat16] [--record FILE]
 * `--record` keeps what passed, by architecture and method, and which pairs do not fit: assets/checked.json, for `fedtune models`.
 */
import { dirname, relative, resolve } from "node:path";
import { parseArgs } from "node:util";
import { messageOf } from "../src/core/base/errors.ts";
import { COMPUTE_DTYPES } from "../src/core/base/tensor.ts";
import { DEVICES } from "../src/engine/graph/onnx/emitter.ts";
import { writeFileAtomic } from "../src/core/store/files.ts";
import { findCases } from "./golden/case.ts";
import { checkCase, subjectOf, withinTolerances } from "./golden/check.ts";
import { pairsThatDoNotFit } from "./golden/fit.ts";

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({ allowPositionals: true, options: { models: { type: "string", multiple: true, default: ["../shared/models"] }, device: { type: "string", default: "cpu" }, compute: { type: "string", default: "float32" }, record: { type: "string" } } });
  const roots = positionals.length > 0 ? positionals : ["../shared/goldens"];
  const device = DEVICES.find((name) => name === values.device);
  if (device === undefined) throw new Error(`--device: expected ${DEVICES.join(", ")}, got ${values.device}`);
  const compute = COMPUTE_DTYPES.find((name) => name === values.compute);
  if (compute === undefined) throw new Error(`--compute: expected ${COMPUTE_DTYPES.join(", ")}, got ${values.compute}`);
  const models = values.models.map((path) => resolve(path));
  const passed: object[] = [];
  let failed = 0;
  const cases = roots.flatMap((root) => {
    const found = findCases(resolve(root));
    if (found.length > 0) return found;
    failed++;
    console.error(`golden: ${root}: expected a folder with a case.json at or below it, got none.`);
    return [];
  });
  for (const folder of cases) {
    const name = relative(dirname(dirname(folder)), folder);
    try {
      const differences = await checkCase(folder, models, { device, compute });
      const ok = withinTolerances(differences, compute);
      if (ok) passed.push({ case: name, ...(await subjectOf(folder, models)), differences });
      else failed++;
      console.log(JSON.stringify({ case: name, ok, ...differences }));
    } catch (error) {
      failed++;
      console.log(JSON.stringify({ case: name, ok: false, error: messageOf(error) }));
    }
  }
  if (values.record !== undefined) writeFileAtomic(values.record, `${JSON.stringify({ cases: passed, without: pairsThatDoNotFit() }, null, 1)}\n`);
  process.exitCode = failed > 0 ? 1 : 0;
}

await main();
