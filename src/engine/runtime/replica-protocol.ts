/** The messages between a replica and its thread. */
import type { Tensor } from "../../core/base/tensor.ts";

/** What the thread is asked: a run by number, or to end. */
export type ReplicaRequest = { readonly id: number; readonly feeds: Readonly<Record<string, Tensor>> } | "close";
/** What it answers: number −1 once it is open. */
export type ReplicaReply = { readonly id: number } & ({ readonly outputs: Readonly<Record<string, Tensor>> } | { readonly error: string });
