/** How a reply is sent: one JSON body, or server-sent events that begin with the first one. */
import type { ServerResponse } from "node:http";
import type { ApiError } from "./api-error.ts";

/** Sends a JSON body, unless the caller has gone. */
export function sendJson(response: ServerResponse, body: unknown, { status = 200, headers = {} }: { readonly status?: number; readonly headers?: Readonly<Record<string, string>> } = {}): void {
  if (response.destroyed || response.headersSent) return;
  const text = JSON.stringify(body);
  response.writeHead(status, { "content-type": "application/json; charset=utf-8", "content-length": String(Buffer.byteLength(text)), "cache-control": "no-store", ...headers });
  response.end(text);
}

/** Sends an error; into a stream that has begun, as its last event. */
export function sendError(response: ServerResponse, error: ApiError): void {
  const { status, body, parts: { headers } } = error;
  if (!response.headersSent) return sendJson(response, body, { status, ...(headers === undefined ? {} : { headers }) });
  if (!response.writableEnded) response.end(`data: ${JSON.stringify(body)}\n\n`);
}

/** Sends one server-sent event. The status stands with the first: what is refused before has its own. */
export function sendEvent(response: ServerResponse, event: unknown): void {
  if (response.destroyed) return;
  if (!response.headersSent) response.writeHead(200, { "content-type": "text/event-stream; charset=utf-8", "cache-control": "no-store", "x-accel-buffering": "no" });
  response.write(`data: ${JSON.stringify(event)}\n\n`);
}

/** Ends a stream as OpenAI's protocol does. */
export function endEvents(response: ServerResponse): void {
  if (!response.destroyed) response.end("data: [DONE]\n\n");
}
