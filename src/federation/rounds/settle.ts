/** From the replies of one round to the next adapter: checks, weights, aggregation. Pure; storing the outcome is the coordinator's. */
import { FedtuneError } from "../../core/base/errors.ts";
import type { FactorPair } from "../../core/base/factor-pair.ts";
import type { NamedTensors } from "../../core/base/tensor.ts";
import { tensorBytes } from "../protocol/encode.ts";
import type { FailureReply, Reply, Update } from "../protocol/messages.ts";
import { updateFault } from "../strategies/check.ts";
import { crossTerm } from "../strategies/cross-term.ts";
import type { FederationSettings } from "../strategies/settings.ts";
import type { Strategy } from "../strategies/types.ts";
import type { RoundCommitted } from "./replay.ts";

export interface SettleOptions {
  readonly strategy: Strategy;
  readonly weighting: FederationSettings["weighting"];
  readonly pairs: readonly FactorPair[];
  /** Updates that the round needs. */
  readonly minClients: number;
  /** Names the federation in errors. */
  readonly scenario: string;
}

export interface Settled {
  readonly adapter: NamedTensors<"float32">;
  readonly updates: RoundCommitted["updates"];
  readonly failures: RoundCommitted["failures"];
  readonly crossTerm: number | null | undefined;
}

/**
 * The next adapter from a round's replies, in ascending order of client whatever order they came in.
 * An update that does not fit, or whose weight is zero, counts as a failure. Without any update the adapter stays.
 * @throws FedtuneError("federation") with fewer updates than `minClients`, naming round and reasons
 */
export function settleRound(round: number, global: NamedTensors<"float32">, replies: readonly Reply[], options: SettleOptions): Settled {
  const { strategy, scenario } = options;
  const expected = strategy.payload(global);
  const checked = replies.map((reply) => checkReply(reply, { round, expected, options })).toSorted((a, b) => a.client - b.client);
  const updates = checked.filter((reply) => reply.kind === "update");
  const failures = checked.filter((reply) => reply.kind === "failure").map(({ client, code, reason }) => ({ client, code, reason }));
  if (updates.length < options.minClients) throw tooFew(`${scenario}, round ${round}`, updates.length, { wanted: options.minClients, failures });
  const bytesDown = tensorBytes(global);
  const described = updates.map((update) => ({
    client: update.client,
    weight: weightOf(update, options.weighting),
    examples: update.examples,
    tokens: update.tokens,
    steps: update.steps,
    skippedSteps: update.skippedSteps,
    loss: update.loss,
    bytesDown,
    bytesUp: tensorBytes(update.adapter),
  }));
  if (updates.length === 0) return { adapter: global, updates: described, failures, crossTerm: undefined };
  const total = described.reduce((sum, { weight }) => sum + weight, 0);
  const shared = updates.map((update) => ({ client: update.client, share: weightOf(update, options.weighting) / total, tensors: update.adapter }));
  const next = strategy.aggregate({ round, global, updates: shared.map(({ client, share, tensors }) => ({ client, share, load: () => tensors })) });
  return { adapter: mergeNext(global, next, { where: `${strategy.name}, round ${round}`, expected }), updates: described, failures, crossTerm: crossTermOf(shared, expected, options.pairs) };
}

function weightOf(update: Update, weighting: SettleOptions["weighting"]): number {
  switch (weighting) {
    case "examples":
      return update.heldExamples;
    case "tokens":
      return update.heldTokens;
    case "equal":
      return 1;
    default:
      return weighting satisfies never;
  }
}

function checkReply(reply: Reply, context: { readonly round: number; readonly expected: NamedTensors<"float32">; readonly options: SettleOptions }): Reply {
  if (reply.kind === "failure") return reply;
  const { round, expected, options } = context;
  const where = `${options.scenario}, round ${round}, client ${reply.client}`;
  const fail = (reason: string): FailureReply => ({ version: reply.version, kind: "failure", round, client: reply.client, code: "federation", reason: reason.slice(0, 2000) });
  if (reply.round !== round) return fail(`${where}: expected an update of round ${round}, got one of round ${reply.round}.`);
  if (weightOf(reply, options.weighting) <= 0) return fail(`${where}: expected a client with ${options.weighting}, got none.`);
  const fault = updateFault(expected, reply.adapter, where);
  return fault === undefined ? reply : fail(fault.message);
}

function tooFew(where: string, got: number, { wanted, failures }: { readonly wanted: number; readonly failures: Settled["failures"] }): FedtuneError {
  const [first] = failures;
  const reason = first === undefined ? "" : ` (client ${first.client}: ${first.reason})`;
  return new FedtuneError("federation", {
    where,
    expected: `at least ${wanted} updates`,
    got: `${got}${failures.length > 0 ? ` and ${failures.length} failures${reason}` : ""}`,
    remedy: "Lower federation.min_clients, or see why the clients fail",
    details: { failures },
  });
}

/** The whole next adapter, in the order of names of `global`: what was aggregated, and the rest as it was. */
function mergeNext(global: NamedTensors<"float32">, next: NamedTensors<"float32">, { where, expected }: { readonly where: string; readonly expected: NamedTensors<"float32"> }): NamedTensors<"float32"> {
  const fault = updateFault(expected, next, where);
  if (fault !== undefined) throw fault;
  return new Map([...global].map(([name, before]) => [name, next.get(name) ?? before]));
}

function crossTermOf(shared: readonly { readonly share: number; readonly tensors: NamedTensors<"float32"> }[], payload: NamedTensors<"float32">, pairs: readonly FactorPair[]): number | null | undefined {
  const sent = pairs.filter(({ a, b }) => payload.has(a) && payload.has(b));
  return shared.length < 2 || sent.length === 0 ? undefined : crossTerm(sent, shared);
}
