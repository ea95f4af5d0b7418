/** The body of a request: JSON within a limit of bytes, checked against a schema with the field at fault named. */
import type { IncomingMessage } from "node:http";
import type { z } from "zod";
import { didYouMean, messageOf } from "../../core/index.ts";
import { ApiError, badRequest } from "./api-error.ts";

function tooLarge(limit: number): ApiError {
  return new ApiError(413, `body: expected at most ${limit} bytes, got more. Send fewer prompts at once.`, { type: "invalid_request_error", code: "body_too_large", headers: { connection: "close" } });
}

/** Throws ApiError 413 for a body over `limit` bytes, 415 for one that does not say that it is JSON, 400 for one that is not. */
export async function readJson(request: IncomingMessage, limit: number): Promise<unknown> {
  const type = request.headers["content-type"] ?? "";
  if (!/^application\/json\b/i.test(type)) throw new ApiError(415, `Content-Type: expected application/json, got ${type === "" ? "none" : `\`${type}\``}.`, { type: "invalid_request_error" });
  if (Number(request.headers["content-length"] ?? 0) > limit) throw tooLarge(limit);
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request) {
    // A request without an encoding gives buffers.
    const piece = chunk as Buffer;
    size += piece.length;
    if (size > limit) throw tooLarge(limit);
    chunks.push(piece);
  }
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(Buffer.concat(chunks))) as unknown;
  } catch (error) {
    throw badRequest(`body: expected JSON, got something else: ${messageOf(error)}`);
  }
}

function valueAt(body: unknown, path: readonly PropertyKey[]): unknown {
  return path.reduce<unknown>((value, key) => (typeof value === "object" && value !== null ? Reflect.get(value, key) : undefined), body);
}

/** The body as the schema reads it. Throws ApiError 400 with the field, its value and what it may be. */
export function parseBody<Schema extends z.ZodType>(body: unknown, schema: Schema, fields: readonly string[]): z.output<Schema> {
  const result = schema.safeParse(body);
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  if (issue === undefined) throw badRequest("body: expected another form");
  if (issue.code === "unrecognized_keys") {
    const name = issue.keys[0] ?? "";
    const path = [...issue.path, name].join(".");
    throw badRequest(`${path}: expected a field that this server knows, got an unknown one. ${issue.path.length === 0 ? didYouMean(name, fields) : ""}`.trim(), path);
  }
  const path = issue.path.join(".");
  const value = JSON.stringify(valueAt(body, issue.path)) ?? "nothing";
  throw badRequest(`${path === "" ? "body" : path}: ${issue.message.replace(/^Invalid input: /, "")}, got ${value.length > 60 ? `${value.slice(0, 60)}…` : value}.`, path);
}
