/** What a request is refused with: OpenAI's form of errors, and which status a fault of fedtune's has. */
import { FedtuneError } from "../../core/index.ts";

export interface ApiErrorParts {
  /** OpenAI's kind of error. */
  readonly type: "invalid_request_error" | "authentication_error" | "rate_limit_error" | "server_error";
  /** For machines: model_not_found, context_length_exceeded. */
  readonly code?: string;
  /** The field at fault. */
  readonly param?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

/** A refusal with its HTTP status. */
export class ApiError extends Error {
  readonly status: number;
  readonly parts: ApiErrorParts;

  constructor(status: number, message: string, parts: ApiErrorParts) {
    super(message);
    this.status = status;
    this.parts = parts;
  }

  /** The body that is sent. */
  get body(): { readonly error: { readonly message: string; readonly type: string; readonly param: string | null; readonly code: string | null } } {
    const { type, param = null, code = null } = this.parts;
    return { error: { message: this.message, type, param, code } };
  }
}

/** A refusal of what the caller sent (400). */
export function badRequest(message: string, param?: string): ApiError {
  return new ApiError(400, message, { type: "invalid_request_error", ...(param === undefined ? {} : { param }) });
}

/** Anything thrown as a refusal; what is no fault of the caller's and no known limit has status 500. */
export function toApiError(error: unknown): ApiError {
  if (error instanceof ApiError) return error;
  if (!(error instanceof FedtuneError)) return new ApiError(500, "A fault in fedtune: the server's own output has the trace.", { type: "server_error", code: "internal_error" });
  switch (error.code) {
    case "config":
      return new ApiError(400, error.message, { type: "invalid_request_error", ...(error.details["contextTokens"] === undefined ? {} : { code: "context_length_exceeded", param: "prompt" }) });
    case "data":
    case "model":
      return new ApiError(400, error.message, { type: "invalid_request_error" });
    case "resources":
      return new ApiError(429, error.message, { type: "rate_limit_error", code: "queue_full", headers: { "retry-after": "1" } });
    case "interrupted":
      return new ApiError(503, "The server is stopping.", { type: "server_error", code: "stopping" });
    case "federation":
    case "internal":
      return new ApiError(500, error.message, { type: "server_error", code: "internal_error" });
    default:
      return error.code satisfies never;
  }
}
