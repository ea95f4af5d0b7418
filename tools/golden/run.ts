/** Runs a recorded case: the loss, logits, gradients and optimiser steps that fedtune gives for its batch. */
import { must } from "../../src/core/base/errors.ts";
import { tensor } from "../../src/core/base/tensor.ts";
import type { NamedTensors, Tensor } from "../../src/core/base/tensor.ts";
import { optimizerGraph, optimizerState } from "../../src/engine/passes/optimizers.ts";
import { openSession } from "../../src/engine/runtime/onnx-session.ts";
import type { Session } from "../../src/engine/runtime/onnx-session.ts";
import { bindAdapter } from "../../src/llm/adapters/all.ts";
import type { BoundAdapter } from "../../src/llm/adapters/adapter.ts";
import { readPeftSettings } from "../../src/llm/adapters/peft.ts";
import { openArchitecture } from "../../src/llm/architectures/all.ts";
import type { ArchitectureModel } from "../../src/llm/architectures/architecture.ts";
import { prepareBase } from "../../src/llm/architectures/prepared-base.ts";
import { flatSize, flatten, unflatten } from "../../src/llm/training/flat.ts";
import { generateGraph, HIDDEN_POSITION, lossGraph, trainGraph } from "../../src/llm/training/graphs.ts";
import type { Batch, Case } from "./case.ts";

/** A model under the case's adapter, and what the recorded batch gives. */
export class GoldenRun {
  readonly model: ArchitectureModel;
  readonly adapter: BoundAdapter;
  readonly #open: (graph: Parameters<typeof openSession>[0]) => Promise<Session>;
  readonly #batch: Batch;

  private constructor(model: ArchitectureModel, adapter: BoundAdapter, open: GoldenRun["openGraph"], batch: Batch) {
    this.model = model;
    this.adapter = adapter;
    this.#open = open;
    this.#batch = batch;
  }

  static async open(modelFolder: string, adapterFolder: string, batch: Batch): Promise<GoldenRun> {
    const model = await openArchitecture(modelFolder);
    const base = await prepareBase(modelFolder, model);
    return new GoldenRun(model, bindAdapter(readPeftSettings(adapterFolder), model.linears), (graph) => openSession(graph, { threads: 1, weights: base.weights }), batch);
  }

  openGraph(graph: Parameters<typeof openSession>[0]): Promise<Session> {
    return this.#open(graph);
  }

  flat(tensors: NamedTensors<"float32"> | undefined): Tensor<"float32"> {
    const data = new Float32Array(flatSize(this.adapter.parameters));
    if (tensors !== undefined) flatten(tensors, this.adapter.parameters, data);
    return tensor("float32", [1, data.length], data);
  }

  async loss(parameters: Tensor): Promise<number> {
    using session = await this.#open(lossGraph(this, { clients: 1, maxLabelledRows: 64 }));
    const { nll } = await session.run({ ...this.#batch.feeds, parameters });
    return valuesSum(must(nll, "nll")) / this.#batch.labelled;
  }

  /** Logits `[B · T, V]`. */
  async logits(parameters: Tensor, { attention_mask }: Case): Promise<Tensor> {
    using session = await this.#open(generateGraph(this));
    const [b, t] = [attention_mask.length, attention_mask[0]?.length ?? 0];
    const empty = tensor("float32", [b, this.model.keyValueHeads, 0, this.model.headWidth], new Float32Array(0));
    const past = Object.fromEntries(Array.from({ length: this.model.layers }, (_, i) => [[`past_key_${i}`, empty], [`past_value_${i}`, empty]] as const).flat());
    const out = await session.run({
      ids: must(this.#batch.feeds["ids"], "ids"), positions: must(this.#batch.feeds["positions"], "positions"), parameters, ...past,
      key_positions: tensor("int32", [b, t], Int32Array.from(attention_mask.flatMap((row) => row.map((m, c) => (m === 1 ? c : HIDDEN_POSITION))))),
      rows: tensor("int32", [1, b * t], Int32Array.from({ length: b * t }, (_, i) => i)),
    });
    return must(out["logits"], "logits");
  }

  /** Losses before each step and after the last, the first gradient, and the trained parameters. */
  async train(start: Tensor<"float32">, { optimizer: settings }: Case) {
    const rule = settings.name === "AdamW"
      ? { name: "adamw" as const, betas: settings.betas, eps: settings.eps, weight_decay: settings.weight_decay }
      : { name: "sgd" as const, momentum: settings.momentum, weight_decay: settings.weight_decay };
    using session = await this.#open(trainGraph(this, { clients: 1, maxLabelledRows: 64, dropout: false }).graph);
    using optimizer = await openSession(optimizerGraph(rule, 0), { threads: 1 });
    const scalar = (x: number): Tensor => tensor("float32", [1, 1], Float32Array.of(x));
    const zeros = tensor("float32", start.shape, new Float32Array(start.data.length));
    let parameters: Tensor = start;
    let state = Object.fromEntries(optimizerState(rule).map((name): [string, Tensor] => [name, zeros]));
    const losses: number[] = [];
    let first: Float32Array | undefined;
    for (let step = 1; step <= settings.steps; step++) {
      const out = await session.run({ ...this.#batch.feeds, parameters, accumulated: zeros });
      const sum = must(out["accumulated_out"], "gradient");
      losses.push(valuesSum(must(out["nll"], "nll")) / this.#batch.labelled);
      first ??= Float32Array.from(sum.data as Float32Array, (x) => x / this.#batch.labelled);
      const corrections = rule.name === "adamw" ? { correction1: scalar(1 - rule.betas[0] ** step), correction2: scalar(1 - rule.betas[1] ** step) } : {};
      const updated = await optimizer.run({ parameters, gradients: sum, ...state, ...corrections, tokens: scalar(this.#batch.labelled), loss: scalar(1), learning_rate: scalar(settings.lr) });
      parameters = must(updated["parameters_out"], "parameters");
      state = Object.fromEntries(Object.keys(state).map((name) => [name, must(updated[`${name}_out`], name)]));
    }
    losses.push(await this.loss(parameters));
    return { losses, gradient: must(first, "gradient"), parameters };
  }

  named(flat: Tensor | Float32Array): NamedTensors<"float32"> {
    return unflatten(flat instanceof Float32Array ? flat : (flat.data as Float32Array), this.adapter.parameters);
  }
}

function valuesSum(t: Tensor): number {
  return Float64Array.from(t.data as Float32Array).reduce((a, b) => a + b, 0);
}
