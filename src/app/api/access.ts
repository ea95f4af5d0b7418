/** Who may ask: the key, and on the loopback address without a key, no web page of another origin. */
import { createHash, timingSafeEqual } from "node:crypto";
import type { IncomingMessage } from "node:http";
import { ApiError } from "./api-error.ts";

const LOOPBACK = /^(localhost|127(\.\d{1,3}){3}|\[?::1\]?)$/i;

/** Whether an address is reached from this machine alone. */
export function isLoopback(host: string): boolean {
  return LOOPBACK.test(host);
}

const digest = (text: string): Buffer => createHash("sha256").update(text).digest();

/** Throws ApiError 401 for a missing or wrong key, 403 for a name that is not the loopback address's (a page that rebinds its own). */
export function checkAccess({ headers }: IncomingMessage, apiKey: string | undefined): void {
  if (apiKey === undefined) {
    const host = (headers.host ?? "").replace(/:\d+$/, "");
    if (!isLoopback(host)) throw new ApiError(403, `Host: expected the loopback address, got \`${host}\`. Start the server with --api-key to be reached by other names.`, { type: "authentication_error" });
    return;
  }
  const given = /^Bearer\s+(.+)$/i.exec(headers.authorization ?? "")?.[1];
  if (given !== undefined && timingSafeEqual(digest(given), digest(apiKey))) return;
  const message = given === undefined ? "Authorization: expected `Bearer` and the key that the server was started with, got none." : "Authorization: expected the key that the server was started with, got another.";
  throw new ApiError(401, message, { type: "authentication_error", code: "invalid_api_key", headers: { "www-authenticate": "Bearer" } });
}
