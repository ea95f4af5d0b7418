/** What the Hub's answers, or their absence, mean for the person who asked for a model or a data set. */
import { FedtuneError, messageOf } from "../base/errors.ts";
import { fileErrorCode } from "../base/file-errors.ts";

/** A request for a model or a data set. */
export interface HubRequest {
  readonly type: "model" | "dataset";
  readonly name: string;
  readonly revision: string;
  readonly endpoint: string;
  /** The local path that the name would have been. */
  readonly localPath?: string;
  readonly hasToken: boolean;
}

/** The HTTP status of an error of @huggingface/hub; undefined for anything else. */
function statusOf(error: unknown): number | undefined {
  return error instanceof Error && "statusCode" in error && typeof error.statusCode === "number" ? error.statusCode : undefined;
}

/** Whether no answer came at all: fetch's TypeError, whose cause is the socket's error. */
export function isUnreachable(error: unknown): boolean {
  return statusOf(error) === undefined && error instanceof TypeError && (error.message === "fetch failed" || error.message === "terminated");
}

/** A FedtuneError that says what to do about a failed request. Errors that are FedtuneErrors already come back as they are. */
export function hubError(error: unknown, request: HubRequest): FedtuneError {
  if (error instanceof FedtuneError) return error;
  const { type, name, revision, endpoint, localPath, hasToken } = request;
  const what = type === "model" ? "model" : "data set";
  const where = `${what} ${name}`;
  const page = `${endpoint}/${type === "dataset" ? "datasets/" : ""}${name}`;
  const orFolder = localPath === undefined ? "" : `a folder ${localPath} or `;
  const byHand = type === "model" ? "download the model and name its folder" : "download the file and name its path";
  const status = statusOf(error);
  const make = (code: "model" | "data" | "resources", parts: { expected: string; got: string; remedy: string }): FedtuneError =>
    new FedtuneError(code, { where, ...parts, details: { name, revision, endpoint, ...(status === undefined ? {} : { status }) }, cause: error });
  const missing = type === "model" ? "model" : "data";
  if (status === 401 || status === 403) {
    const remedy = hasToken ? `Ask for access at ${page}, or use a token that has it` : `Check the name; for a private or gated ${what} ask for access at ${page} and set HF_TOKEN`;
    return make(missing, { expected: `a ${what} on the Hub that may be read`, got: `status ${status} ${hasToken ? "with" : "without"} an access token`, remedy });
  }
  if (status === 404) {
    return make(missing, { expected: `${orFolder}a ${what} on ${endpoint}`, got: `${localPath === undefined ? "none" : "neither"} (status 404 at revision ${revision})`, remedy: "Check the spelling of path, name and revision" });
  }
  if (status === 429) return make("resources", { expected: "an answer of the Hub", got: "status 429, too many requests", remedy: "Wait some minutes, or set HF_TOKEN for a higher limit" });
  if (status !== undefined) return make("resources", { expected: `an answer of ${endpoint}`, got: `status ${status}`, remedy: `Try again later, or ${byHand}` });
  if (isUnreachable(error)) {
    const cause = error instanceof Error ? error.cause : undefined;
    return make("resources", { expected: `${orFolder}an answer of ${endpoint}`, got: `${localPath === undefined ? "none" : "neither"} (${fileErrorCode(cause) ?? messageOf(cause ?? error)})`, remedy: `Check the network (HF_ENDPOINT names another address), or ${byHand}` });
  }
  return make("resources", { expected: `an answer of ${endpoint} that can be understood`, got: messageOf(error), remedy: `Try again, or ${byHand}` });
}
