/** The federation room's public API. */
export { decodeMessage, encodeMessage, tensorBytes } from "./protocol/encode.ts";
export type { FailureReply, Message, Reply, Task, Update } from "./protocol/messages.ts";
export type { GroupWorker, SendOptions, Transport } from "./protocol/transport.ts";
export { createGroupWorker } from "./rounds/client.ts";
export type { ClientMemory, ClientRows, ClientSite } from "./rounds/client.ts";
export { runFederations } from "./rounds/coordinator.ts";
export type { Coordination, Federation, RoundsPlan } from "./rounds/coordinator.ts";
export { replay } from "./rounds/replay.ts";
export type { RunState } from "./rounds/replay.ts";
export type { RunStore } from "./rounds/store.ts";
export { weightedMean } from "./strategies/average.ts";
export { crossTerm } from "./strategies/cross-term.ts";
export { loadStrategy } from "./strategies/load.ts";
export type { AggregateInput, Strategy, UpdateHandle } from "./strategies/types.ts";
export { createInProcessTransport } from "./transports/in-process.ts";
