/** Runs a recorded case: the loss, logits, gradients and optimiser steps that fedtune gives for its batch. */
import { must } from "../../src/core/base/errors.ts";
import { tensor } from "../../src/core/base/tensor.ts";
import type { ComputeDType, NamedTensors, Tensor } from "../../src/core/base/tensor.ts";
import type { Device } from "../../src/engine/graph/onnx/emitter.ts";
import { optimizerGraph, optimizerState } from "../../src/engine/passes/optimizers.ts";
import { openSession } from "../../src/engine/runtime/onnx-session.ts";
import { readAdapterSettings } from "../../src/llm/adapters/adapter-folder.ts";
import { stackClients } from "../../src/llm/data/stack.ts";
import { batchFeeds } from "../../src/llm/training/batch-feeds.ts";
import { flatSize, flatten, unflatten } from "../../src/llm/training/flat.ts";
import { startCache } from "../../src/llm/training/generation.ts";
import { HIDDEN_POSITION, trainedSpecs } from "../../src/llm/training/graphs.ts";
import { afterOverflow, startScale } from "../../src/llm/training/loss-scale.ts";
import { openModel, type OpenedModel } from "../../src/llm/training/local-trainer.ts";
import { runtimeSchema, trainingSchema } from "../../src/llm/training/settings.ts";
import { NO_EXAMPLES } from "../../src/llm/training/setup.ts";
import { rowsOf, type Case } from "./case.ts";

const MOST_LABELLED_ROWS = 64;

/** What a case is computed with. */
export interface Means {
  readonly device: Device;
  readonly compute: ComputeDType;
}

/** A model under the case's adapter (or none), and what the recorded batch gives. */
export class GoldenRun implements Disposable {
  readonly opened: OpenedModel;
  readonly #case: Case;
  readonly #means: Means;

  private constructor(opened: OpenedModel, golden: Case, means: Means) {
    this.opened = opened;
    this.#means = means;
    this.#case = golden;
  }

  static async open(modelFolder: string, adapterFolder: string | undefined, golden: Case, means: Means): Promise<GoldenRun> {
    const { device, compute } = means;
    const opened = await openModel({
      modelFolder, ...(adapterFolder === undefined ? {} : { adapter: { ...readAdapterSettings(adapterFolder), init_from: adapterFolder } }), data: NO_EXAMPLES, packTokens: MOST_LABELLED_ROWS, seed: 0,
      training: trainingSchema.parse({}), runtime: { ...runtimeSchema.parse({}), device, threads: 1, basePrecision: "float32", compute, clientsSideBySide: 1, tokensPerMicroBatch: MOST_LABELLED_ROWS },
    });
    return new GoldenRun(opened, golden, means);
  }

  /** Names and shapes of what trains. */
  get specs() {
    return trainedSpecs(must(this.opened.adapter, "an adapter"));
  }

  #batch(adapted: boolean) {
    const adapter = adapted ? this.opened.adapter : undefined;
    const rows = rowsOf(this.#case, { count: adapter?.virtualTokens ?? 0, firstId: this.opened.model.vocabSize });
    return { rows, feeds: batchFeeds(stackClients([rows]), adapter) };
  }

  /** The recorded batch's mean loss; without tensors the adapter is off. */
  async loss(exchanged: NamedTensors<"float32"> | undefined): Promise<number> {
    const session = await this.opened.sessions.loss(exchanged !== undefined);
    const { rows, feeds } = this.#batch(exchanged !== undefined);
    const { nll } = await session.run({ ...feeds, ...(exchanged === undefined ? {} : await must(this.opened.opened, "adapter").feeds(exchanged)) });
    return valuesSum(must(nll, "nll")) / rows.targets.length;
  }

  /** Logits of every place, the virtual ones included, and whether a token stands there. */
  async logits(exchanged: NamedTensors<"float32">): Promise<{ readonly logits: Tensor; readonly visible: readonly boolean[] }> {
    const { model, sessions } = this.opened;
    const opened = must(this.opened.opened, "adapter");
    const adapted = { adapter: opened.adapter, feeds: await opened.feeds(exchanged), prefix: () => sessions.prefix() };
    const { rows, feeds } = this.#batch(true);
    const n = opened.adapter.prefixTokens;
    const shifted = Int32Array.from(rows.positions, (p) => p + n);
    const visible = Array.from(rows.segments, (s) => s !== 0);
    const keys = Int32Array.from({ length: rows.rows * (n + rows.width) }, (_, i) => {
      const [row, at] = [Math.floor(i / (n + rows.width)), (i % (n + rows.width)) - n];
      if (at < 0) return at + n;
      return visible[row * rows.width + at] === true ? (shifted[row * rows.width + at] ?? 0) : HIDDEN_POSITION;
    });
    const session = await sessions.generate(true);
    const out = await session.run({
      ids: must(feeds["ids"], "ids"), positions: tensor("int32", [1, rows.rows, rows.width], shifted), ...adapted.feeds, ...(await startCache({ model, adapted }, rows.rows)),
      key_positions: tensor("int32", [rows.rows, n + rows.width], keys),
      rows: tensor("int32", [1, visible.length], Int32Array.from(visible, (_, i) => i)),
    });
    return { logits: must(out["logits"], "logits"), visible };
  }

  /** Losses before each step and after the last, the first gradient, and the trained tensors. */
  async train(start: NamedTensors<"float32">) {
    const { optimizer: settings } = this.#case;
    const rule = settings.name === "AdamW"
      ? { name: "adamw" as const, betas: settings.betas, eps: settings.eps, weight_decay: settings.weight_decay }
      : { name: "sgd" as const, momentum: settings.momentum, weight_decay: settings.weight_decay };
    const { session } = await this.opened.sessions.train(1);
    using optimizer = await openSession(optimizerGraph(rule, 0), { threads: 1, device: this.#means.device });
    const { rows, feeds } = this.#batch(true);
    const frozen = must(this.opened.opened, "adapter").frozenFeeds;
    const labelled = rows.targets.length;
    let lossScale = startScale(this.#means.compute);
    const scalar = (x: number): Tensor => tensor("float32", [1, 1], Float32Array.of(x));
    const flat = new Float32Array(flatSize(this.specs));
    flatten(start, this.specs, flat);
    const zeros = tensor("float32", [1, flat.length], new Float32Array(flat.length));
    let parameters: Tensor = tensor("float32", [1, flat.length], flat);
    let state = Object.fromEntries(optimizerState(rule).map((name): [string, Tensor] => [name, zeros]));
    const losses: number[] = [];
    let first: Float32Array | undefined;
    for (let step = 1; step <= settings.steps; step++) {
      const pass = () => session.run({ ...feeds, ...frozen, weights: tensor("float32", [1, labelled], new Float32Array(labelled).fill(lossScale.scale)), parameters, accumulated: zeros });
      let out = await pass();
      for (let lower = afterOverflow(lossScale); lower !== undefined && !isFinite(must(out["accumulated_out"], "gradient")); lower = afterOverflow(lower)) {
        lossScale = lower;
        out = await pass();
      }
      const { scale } = lossScale;
      const sum = must(out["accumulated_out"], "gradient");
      losses.push(valuesSum(must(out["nll"], "nll")) / labelled);
      first ??= Float32Array.from(sum.data as Float32Array, (x) => x / (labelled * scale));
      const corrections = rule.name === "adamw" ? { correction1: scalar(1 - rule.betas[0] ** step), correction2: scalar(1 - rule.betas[1] ** step) } : {};
      const updated = await optimizer.run({ parameters, gradients: sum, ...state, ...corrections, tokens: scalar(labelled * scale), loss: scalar(1), learning_rate: scalar(settings.lr) });
      parameters = must(updated["parameters_out"], "parameters");
      state = Object.fromEntries(Object.keys(state).map((name) => [name, must(updated[`${name}_out`], name)]));
    }
    const trained = unflatten(parameters.data as Float32Array, this.specs);
    losses.push(await this.loss(trained));
    return { losses, gradient: unflatten(must(first, "gradient"), this.specs), trained };
  }

  [Symbol.dispose](): void {
    this.opened.sessions[Symbol.dispose]();
  }
}

function isFinite({ data }: Tensor): boolean {
  return (data as Float32Array).every((x) => Number.isFinite(x));
}

function valuesSum(t: Tensor): number {
  return Float64Array.from(t.data as Float32Array).reduce((a, b) => a + b, 0);
}
