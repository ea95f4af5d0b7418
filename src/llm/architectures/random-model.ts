/** A model folder with random weights: for benchmarks of a shape whose weights are not at hand. */
import { join } from "node:path";
import { normals, randomKey } from "../../core/base/random.ts";
import { elementCount, tensor } from "../../core/base/tensor.ts";
import { createSafetensorsWriter } from "../../core/formats/safetensors-writer.ts";
import { ensureWritableFolder, writeFileAtomic } from "../../core/store/files.ts";
import type { Architecture } from "./architecture.ts";
import { ARCHITECTURES } from "./all.ts";
import { pickArchitecture } from "./config.ts";

/** Hugging Face's initializer_range. */
const DEVIATION = 0.02;
/** Weights repeat after this many: drawing hundreds of millions apart would take minutes and change nothing that is measured. */
const PERIOD = 1 << 20;

/** Writes config.json and model.safetensors (float32) for a config; norm weights are 1. Throws FedtuneError for an unknown `model_type`. */
export function writeRandomModel(folder: string, config: Readonly<Record<string, unknown>>, seed: number): void {
  const model = pickArchitecture<Architecture>(ARCHITECTURES, config, "random model").open(config, "random model");
  ensureWritableFolder(folder);
  writeFileAtomic(join(folder, "config.json"), `${JSON.stringify(config, null, 2)}\n`);
  const declarations = model.tensors.flatMap(({ shape, parts }) => parts.map(({ name, rows }) => ({ name, dtype: "float32" as const, shape: shape.with(0, rows) })));
  const draws = Float32Array.from(normals(randomKey(seed, "random model"), [], PERIOD), (x) => x * DEVIATION);
  using writer = createSafetensorsWriter(join(folder, "model.safetensors"), declarations, { metadata: { format: "pt" } });
  let at = 0;
  for (const { name, shape } of declarations) {
    const data = new Float32Array(elementCount(shape));
    if (shape.length === 1) data.fill(1);
    else {
      for (let done = 0; done < data.length; ) {
        const piece = draws.subarray(at, at + Math.min(PERIOD - at, data.length - done));
        data.set(piece, done);
        done += piece.length;
        at = (at + piece.length) % PERIOD;
      }
    }
    writer.write(name, tensor("float32", shape, data));
  }
  writer.finish();
}
