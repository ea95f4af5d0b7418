/** What an endpoint is: a method and the work. */
import type { ServerResponse } from "node:http";
import type { ServedModel } from "../../index.ts";

export interface Asked {
  readonly model: ServedModel;
  /** Parsed JSON; undefined for GET. */
  readonly body: unknown;
  /** What stands in the path's `*`, decoded. */
  readonly rest: string;
  readonly response: ServerResponse;
  /** Aborted once the caller has gone or the server stops. */
  readonly signal: AbortSignal;
  /** Seconds since 1970. */
  readonly created: number;
}

export interface Endpoint {
  readonly method: "GET" | "POST";
  /** Throws ApiError or FedtuneError. */
  readonly answer: (asked: Asked) => Promise<void> | void;
}
