/** How much memory it takes to prepare a base: a process of its own, whose peak is asked of the system. */
import { execFileSync } from "node:child_process";
import { mkdirSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, expect, test } from "vitest";
import { z } from "zod";
import { temporaryFolder } from "../../../test/support/tiny-training.ts";
import { normals, randomKey } from "../../core/base/random.ts";
import { bytesOf, elementCount, tensor, type Tensor } from "../../core/base/tensor.ts";
import { must } from "../../core/base/errors.ts";
import { bfloat16ToFloat32, float32ToBfloat16, float32ToFloat16 } from "../../core/formats/half.ts";
import { readSafetensorsHeader, readTensor } from "../../core/formats/safetensors.ts";
import { writeSafetensors } from "../../core/formats/safetensors-writer.ts";
import { llama } from "./llama.ts";

/** One layer of SmolLM2-135M and its whole vocabulary: an embedding of 113 MB in float32, of 57 MB in the file. */
const CONFIG = { model_type: "llama", vocab_size: 49152, hidden_size: 576, intermediate_size: 1536, num_hidden_layers: 1, num_attention_heads: 9, num_key_value_heads: 3, max_position_embeddings: 2048, rms_norm_eps: 1e-5, rope_theta: 100000, tie_word_embeddings: true };
/** A chunk of 8 MB in float32, its bytes in two layouts, and what the process itself takes: 9 MB seen for float32, 23 MB for 8 bits. */
const MOST_BYTES = 30e6;
const EMBEDDING = "model.embed_tokens.weight";

const root = temporaryFolder();
const folder = join(root, "model");
const tensors = new Map<string, Tensor<"bfloat16">>();

beforeAll(() => {
  const draws = float32ToBfloat16(Float32Array.from(normals(randomKey(1, "weights"), [], 10_007), (x) => 0.02 * x));
  for (const { shape, parts } of llama.open(CONFIG, "test").tensors) {
    for (const { name, rows } of parts) {
      const data = new Uint16Array(elementCount(shape.with(0, rows)));
      // A prime number of draws: no two rows are alike.
      for (let at = 0; at < data.length; at += draws.length) data.set(draws.subarray(0, Math.min(draws.length, data.length - at)), at);
      tensors.set(name, tensor("bfloat16", shape.with(0, rows), data));
    }
  }
  mkdirSync(folder);
  writeFileSync(join(folder, "config.json"), JSON.stringify(CONFIG));
  writeSafetensors(join(folder, "model.safetensors"), tensors);
});

function prepare(precision: string): { readonly grownBytes: number; readonly file: string } {
  const out = execFileSync(process.execPath, [join(import.meta.dirname, "prepare-base.fixture.ts"), folder, precision], { encoding: "utf8" });
  return z.object({ grownBytes: z.number(), file: z.string() }).parse(JSON.parse(out));
}

test.skipIf(process.platform !== "linux").each(["float32", "uint8", "float16"])("a checkpoint in half precision becomes a %s base in less than half its size of memory, whatever its largest tensor", (precision) => {
  const { grownBytes, file } = prepare(precision);
  expect(grownBytes).toBeLessThan(MOST_BYTES);
  expect(MOST_BYTES).toBeLessThan(statSync(join(folder, "model.safetensors")).size / 2);
  // Chunks are put together where they belong, across all of the embedding.
  const prepared = readTensor(readSafetensorsHeader(file), EMBEDDING);
  const exact = bfloat16ToFloat32(must(tensors.get(EMBEDDING), EMBEDDING).data);
  expect(Buffer.compare(bytesOf(prepared.data), bytesOf(precision === "float16" ? float32ToFloat16(exact) : exact))).toBe(0);
}, 180_000);
