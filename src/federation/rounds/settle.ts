/** From the replies of one round to the next adapter: checks, weights, aggregation. Pure; storing the outcome is the coordinator's. */
import { FedtuneError } from "../../core/base/errors.ts";
import type { FactorPair } from "../../core/base/factor-pair.ts";
import type { NamedTensors } from "../../core/base/tensor.ts";
import { tensorBytes } from "../protocol/encode.ts";
import type { FailureReply, Reply, Update } from "../protocol/messages.ts";
import { shapeFault, valueFault } from "../strategies/check.ts";
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
  const context: Context = { round, expected, options };
  const ordered = replies.map((reply) => checkReply(reply, context)).toSorted((a, b) => a.client - b.client);
  const settled = aggregate(ordered, global, context);
  if (settled !== undefined) return settled;
  // The result is not finite: now it is worth the time to look for the updates that are to blame.
  const blamed = ordered.map((reply) => checkValues(reply, context));
  const again = aggregate(blamed, global, context);
  if (again !== undefined) return again;
  throw new FedtuneError("federation", { where: `${scenario}, round ${round}`, expected: `a finite adapter from ${strategy.name}`, got: "NaN or infinity from finite updates", remedy: "Look into the strategy" });
}

interface Context {
  readonly round: number;
  readonly expected: NamedTensors<"float32">;
  readonly options: SettleOptions;
}

/** The round's outcome, or undefined where the next adapter is not finite. */
function aggregate(replies: readonly Reply[], global: NamedTensors<"float32">, { round, expected, options }: Context): Settled | undefined {
  const { strategy, scenario } = options;
  const updates = replies.filter((reply) => reply.kind === "update");
  const failures = replies.filter((reply) => reply.kind === "failure").map(({ client, code, reason }) => ({ client, code, reason }));
  if (updates.length < options.minClients) throw tooFew(`${scenario}, round ${round}`, updates.length, { wanted: options.minClients, failures });
  const described = describeUpdates(updates, global, options);
  if (updates.length === 0) return { adapter: global, updates: described, failures, crossTerm: undefined };
  const total = described.reduce((sum, { weight }) => sum + weight, 0);
  const shared = updates.map((update) => ({ client: update.client, share: weightOf(update, options.weighting) / total, tensors: update.adapter }));
  const next = strategy.aggregate({ round, global, updates: shared.map(({ client, share, tensors }) => ({ client, share, load: () => tensors })) });
  const where = `${strategy.name}, round ${round}`;
  const fault = shapeFault(expected, next, where);
  if (fault !== undefined) throw fault;
  if (valueFault(next, where) !== undefined) return undefined;
  // What was aggregated, and the rest as it was.
  const adapter = new Map([...global].map(([name, before]) => [name, next.get(name) ?? before]));
  return { adapter, updates: described, failures, crossTerm: crossTermOf(shared, expected, options.pairs) };
}

function describeUpdates(updates: readonly Update[], global: NamedTensors<"float32">, { weighting }: SettleOptions): Settled["updates"] {
  const bytesDown = tensorBytes(global);
  return updates.map((update) => {
    const { client, examples, tokens, steps, skippedSteps, loss } = update;
    return { client, weight: weightOf(update, weighting), examples, tokens, steps, skippedSteps, loss, bytesDown, bytesUp: tensorBytes(update.adapter) };
  });
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

function checkReply(reply: Reply, context: Context): Reply {
  if (reply.kind === "failure") return reply;
  const { round, expected, options } = context;
  const where = placeOf(reply, context);
  if (reply.round !== round) return failed(reply, `${where}: expected an update of round ${round}, got one of round ${reply.round}.`);
  if (weightOf(reply, options.weighting) <= 0) return failed(reply, `${where}: expected a client with ${options.weighting}, got none.`);
  const fault = shapeFault(expected, reply.adapter, where);
  if (fault !== undefined) return failed(reply, fault.message);
  return options.strategy.passesNonFiniteOn === true ? reply : checkValues(reply, context);
}

function checkValues(reply: Reply, context: Context): Reply {
  const fault = reply.kind === "failure" ? undefined : valueFault(reply.adapter, placeOf(reply, context));
  return fault === undefined ? reply : failed(reply, fault.message);
}

function placeOf(reply: Reply, { round, options }: Context): string {
  return `${options.scenario}, round ${round}, client ${reply.client}`;
}

function failed({ version, round, client }: Reply, reason: string): FailureReply {
  return { version, kind: "failure", round, client, code: "federation", reason: reason.slice(0, 2000) };
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

function crossTermOf(shared: readonly { readonly share: number; readonly tensors: NamedTensors<"float32"> }[], payload: NamedTensors<"float32">, pairs: readonly FactorPair[]): number | null | undefined {
  const sent = pairs.filter(({ a, b }) => payload.has(a) && payload.has(b));
  return shared.length < 2 || sent.length === 0 ? undefined : crossTerm(sent, shared);
}
