/** The part of the config that training owns: optimiser, schedule, step size. Defaults live here and nowhere else. */
import { z } from "zod";
import { COMPUTE_DTYPES } from "../../core/base/tensor.ts";
import { DEVICES } from "../../engine/graph/onnx/emitter.ts";
import { BASE_PRECISIONS } from "../architectures/quantized-weights.ts";

const positive = z.number().positive();
const fraction = z.number().min(0).max(1);

const optimizerSchema = z.discriminatedUnion("name", [
  z.strictObject({
    name: z.literal("adamw").describe("AdamW with decoupled weight decay (Loshchilov and Hutter 2019)"),
    betas: z.tuple([fraction, fraction]).default([0.9, 0.999]).describe("decay of the first and second moment"),
    eps: positive.default(1e-8).describe("added to the root of the second moment"),
    weight_decay: z.number().min(0).default(0).describe("decoupled weight decay"),
  }),
  z.strictObject({
    name: z.literal("sgd").describe("stochastic gradient descent"),
    momentum: fraction.default(0).describe("momentum; 0 is plain SGD"),
    weight_decay: z.number().min(0).default(0).describe("L2 penalty added to the gradient"),
  }),
]);

export const scheduleSchema = z.strictObject({
  name: z.enum(["constant", "linear", "cosine"]).default("constant").describe("how the learning rate falls after warm-up, counted across rounds"),
  warmup_steps: z.int().min(0).default(0).describe("steps over which the learning rate rises from 0"),
  minimum: fraction.default(0).describe("fraction of the learning rate that is left at the end (linear, cosine)"),
});
export type ScheduleSettings = z.infer<typeof scheduleSchema>;

export const trainingSchema = z.strictObject({
  learning_rate: positive.default(3e-4).describe("peak learning rate"),
  batch_size: z.int().positive().default(8).describe("examples in one optimiser step, exactly"),
  local_steps: z.int().positive().default(10).describe("optimiser steps of a client in one round"),
  optimizer: optimizerSchema.default({ name: "adamw", betas: [0.9, 0.999], eps: 1e-8, weight_decay: 0 }).describe("adamw or sgd"),
  schedule: scheduleSchema.prefault({}).describe("learning rate over the steps of all rounds"),
  moments: z.enum(["reset", "carry"]).default("reset").describe("whether the optimiser's moments start anew in each round or are carried on by each client"),
  max_grad_norm: z.number().min(0).default(1).describe("global norm that the gradient is clipped to; 0: no clipping"),
  max_skipped_steps: z.int().min(0).default(3).describe("steps with a loss that is not finite that a client may skip in a round before it fails"),
});
export type TrainingSettings = z.infer<typeof trainingSchema>;

/** A number of bytes as people write it. */
const sizeSchema = z.string().regex(/^\d+(\.\d+)? ?[KMGT]?B$/i, "expected a size such as 512MB or 1.5GB");
/** Bytes of a size such as 512MB; units are powers of 1,000. */
export function parseSize(text: string): number {
  const [, number = "0", unit = ""] = /^([\d.]+) ?([KMGT]?)B$/i.exec(text) ?? [];
  return Math.round(Number(number) * 1000 ** " KMGT".indexOf(unit === "" ? " " : unit.toUpperCase()));
}

export const runtimeSchema = z.strictObject({
  device: z.enum([...DEVICES, "auto"]).default("auto").describe("where the graphs run; auto: cuda where its files and a GPU are, else webgpu where a real adapter is measured to be faster, else cpu"),
  base_precision: z.enum(BASE_PRECISIONS).default("float32").describe("how the frozen base is held: float32; int8: linear modules rounded to 8 bits by column, and rows of activations and gradients in each product (half the memory; faster too on processors with VNNI); int4: linear modules in blocks of 32 (small)"),
  float32_modules: z.union([z.literal("auto"), z.array(z.string().min(1))]).default("auto").describe("linear modules that a rounded base holds in float32, by their paths or ends of them (down_proj, layers.0.mlp.down_proj); auto: under int8 those whose input rows are measured to have outliers that rounding would make the loss pay for, else none; without effect on a float32 base"),
  compute: z.enum([...COMPUTE_DTYPES, "auto"]).default("auto").describe("dtype of the base that is not rounded, of activations and of products with the base; adapters, moments, norms' statistics, softmax and loss are always float32; auto: float32 on the CPU, on a GPU the checkpoint's own half precision where the device has it, else float32; on the CPU half precision is slow and for checks"),
  threads: z.union([z.literal("auto"), z.int().positive()]).default("auto").describe("threads of one session"),
  workers: z.int().positive().default(1).describe("worker threads that simulate clients at the same time, each with a session of its own; the result does not depend on it; as many as there are cores with threads: 1 is fastest for many clients (docs/benchmarks.md)"),
  data_parallel: z.union([z.literal("auto"), z.int().positive()]).default("auto").describe("passes of one step that run at the same time, each on its share of the threads; the result does not depend on it; they read the base from memory that they share, in place of mapping its file; auto: 2 on a CPU where a step has several passes, workers is 1 and the base in float32 takes at most an eighth of the memory and 4GB, which is faster than one after another on all threads; else 1"),
  clients_side_by_side: z.union([z.literal("auto"), z.int().positive()]).default("auto").describe("clients that train in one pass over the base"),
  tokens_per_micro_batch: z.union([z.literal("auto"), z.int().positive()]).default("auto").describe("tokens of one forward and backward pass; a step is cut into as many passes as it needs"),
  activation_memory: z.union([z.enum(["auto", "none"]), sizeSchema]).default("auto").describe("most memory for what the forward pass leaves to the backward pass, such as 512MB, of all passes that run at the same time: what does not fit is recomputed, cheapest first, to the same result; auto: half of the base in the dtype that is computed in (five eighths where a step has several passes) and half of what a rounded base saves, at least 256MB, at most a quarter of the machine's; none: no limit"),
});
export type RuntimeSettings = z.infer<typeof runtimeSchema>;
