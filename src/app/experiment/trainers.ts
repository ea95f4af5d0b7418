/** The trainers of a run: made in one place, so that a test can put others there. */
import type { TrainerSetup } from "../../llm/training/setup.ts";
import { createTrainer } from "../../llm/training/trainer.ts";
import type { Trainer } from "../../llm/training/types.ts";
import type { PreparedData } from "./data.ts";
import { runtimeOf, type Plan } from "./plan.ts";

/** Makes one trainer. */
export type CreateTrainer = (setup: TrainerSetup) => Promise<Trainer>;

/** Trainers that are disposed of together. */
export interface Trainers extends AsyncDisposable {
  readonly all: readonly Trainer[];
  readonly first: Trainer;
}

/** As many trainers as the plan has workers; equal, so that it does not matter which does what. */
export async function createTrainers(plan: Plan, data: PreparedData, create: CreateTrainer = createTrainer): Promise<Trainers> {
  const setup: TrainerSetup = {
    modelFolder: plan.resolved.model_folder,
    adapter: plan.adapter,
    training: plan.training,
    runtime: runtimeOf(plan),
    data: data.dataset,
    packTokens: plan.resolved.pack_tokens,
    seed: plan.seed,
  };
  await using made = new AsyncDisposableStack();
  // The first alone: what it puts into caches, the others find.
  const first = made.use(await create(setup));
  const all = [first];
  while (all.length < plan.runtime.workers) all.push(made.use(await create(setup)));
  const held = made.move();
  return { all, first, [Symbol.asyncDispose]: () => held.disposeAsync() };
}
