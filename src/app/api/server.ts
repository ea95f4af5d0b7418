/** The HTTP server of OpenAI's protocol: finds the endpoint, checks who asks, and turns whatever is thrown into an error body. Writes no log of what is asked. */
import { createServer } from "node:http";
import type { IncomingMessage, ServerResponse } from "node:http";
import { isIPv6 } from "node:net";
import { didYouMean, FedtuneError, messageOf } from "../../core/index.ts";
import type { ServedModel } from "../../index.ts";
import { checkAccess, isLoopback } from "./access.ts";
import { ApiError, toApiError } from "./api-error.ts";
import type { Endpoint } from "./endpoint.ts";
import { ENDPOINTS } from "./endpoints.ts";
import { readJson } from "./read-body.ts";
import { sendError } from "./reply.ts";

export interface ServerOptions {
  readonly model: ServedModel;
  readonly host: string;
  /** 0: any that is free. */
  readonly port: number;
  readonly apiKey?: string;
  readonly maxBodyBytes: number;
  /** Milliseconds that answers in the making have to end once a stop is asked for. */
  readonly graceMs: number;
  /** Told of faults in fedtune itself. */
  readonly onFault: (error: unknown) => void;
}

export interface ApiServer extends AsyncDisposable {
  /** Where it is reached, without a slash at the end. */
  readonly url: string;
}

/** Connections that are kept open between requests. */
const KEEP_ALIVE_MS = 65_000;
const MOST_CONNECTIONS = 1024;

/** Refuses an open address without a key. Throws FedtuneError("config"). */
export function requireKey(host: string, apiKey: string | undefined): void {
  if (apiKey !== undefined || isLoopback(host)) return;
  throw new FedtuneError("config", { where: "fedtune api --host", expected: "a key for an address that other machines reach", got: `${host} without one`, remedy: "Give --api-key or set FEDTUNE_API_KEY, or leave --host out" });
}

function findEndpoint(path: string): { readonly endpoint: Endpoint; readonly rest: string } {
  const exact = Object.hasOwn(ENDPOINTS, path) ? ENDPOINTS[path] : undefined;
  if (exact !== undefined) return { endpoint: exact, rest: "" };
  for (const [pattern, endpoint] of Object.entries(ENDPOINTS)) {
    const start = pattern.slice(0, -1);
    if (pattern.endsWith("*") && path.startsWith(start) && path.length > start.length) return { endpoint, rest: decode(path.slice(start.length)) };
  }
  throw new ApiError(404, `${path}: expected one of ${Object.keys(ENDPOINTS).join(", ")}. ${didYouMean(path, Object.keys(ENDPOINTS))}`.trim(), { type: "invalid_request_error", code: "unknown_url" });
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** Starts to listen. Throws FedtuneError("config") for a port that is taken and an open address without a key. */
export async function startServer(options: ServerOptions): Promise<ApiServer> {
  const { model, host, port, apiKey, maxBodyBytes, graceMs, onFault } = options;
  requireKey(host, apiKey);
  const stop = new AbortController();
  let stopping = false;
  const active = new Set<Promise<void>>();
  const created = Math.floor(Date.now() / 1000);

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const gone = new AbortController();
    response.once("close", () => gone.abort());
    try {
      checkAccess(request, apiKey);
      const path = new URL(request.url ?? "/", "http://localhost").pathname.replace(/(.)\/$/, "$1");
      const { endpoint, rest } = findEndpoint(path);
      if (request.method !== endpoint.method) throw new ApiError(405, `${path}: expected ${endpoint.method}, got ${request.method ?? "nothing"}.`, { type: "invalid_request_error", headers: { allow: endpoint.method } });
      if (stopping) throw new ApiError(503, "The server is stopping.", { type: "server_error", code: "stopping", headers: { connection: "close" } });
      const body = endpoint.method === "POST" ? await readJson(request, maxBodyBytes) : undefined;
      await endpoint.answer({ model, body, rest, response, signal: AbortSignal.any([gone.signal, stop.signal]), created: endpoint.method === "GET" ? created : Math.floor(Date.now() / 1000) });
    } catch (error) {
      // Nobody is there to be told.
      if (gone.signal.aborted) return;
      const refusal = toApiError(error);
      if (refusal.status === 500) onFault(error);
      sendError(response, refusal);
    }
  }

  const server = createServer((request, response) => {
    const work = answer(request, response).finally(() => active.delete(work));
    active.add(work);
  });
  server.keepAliveTimeout = KEEP_ALIVE_MS;
  server.maxConnections = MOST_CONNECTIONS;
  await new Promise<void>((resolve, reject) => {
    server.once("error", (cause: NodeJS.ErrnoException) => {
      const remedy = cause.code === "EADDRINUSE" ? "Choose another by --port; 0 takes any that is free" : "Choose another by --host and --port";
      reject(new FedtuneError("config", { where: "fedtune api --port", expected: `${host}:${port} to be free to listen on`, got: cause.code ?? messageOf(cause), remedy, cause }));
    });
    server.listen(port, host, resolve);
  });
  const address = server.address();
  const actual = typeof address === "object" && address !== null ? address.port : port;

  return {
    url: `http://${isIPv6(host) ? `[${host}]` : host}:${actual}`,
    async [Symbol.asyncDispose]() {
      stopping = true;
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      server.closeIdleConnections();
      const timer = setTimeout(() => stop.abort(), graceMs);
      while (active.size > 0) await Promise.allSettled(active);
      clearTimeout(timer);
      server.closeAllConnections();
      await closed;
    },
  };
}
