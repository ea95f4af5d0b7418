/** What it means for its user that a file of a built-in data set could not be fetched. */
import { FedtuneError, messageOf } from "../../../core/base/errors.ts";
import { fileErrorCode } from "../../../core/base/file-errors.ts";
import { HttpStatusError } from "../../../core/store/download.ts";

/** A FedtuneError that says what to do; errors that are FedtuneErrors already come back as they are. */
export function sourceError(error: unknown, { name, file, url, stopped }: { readonly name: string; readonly file: string; readonly url: string; readonly stopped: boolean }): FedtuneError {
  if (error instanceof FedtuneError) return error;
  const where = `data set ${name}`;
  const details = { dataset: name, url };
  const byHand = `put the file into the folder of FEDTUNE_DATA as ${file}`;
  if (stopped) return new FedtuneError("interrupted", { where: `download of ${name}`, expected: "to run to the end", got: "a request to stop", remedy: "Run the command again: it goes on from what has come", cause: error });
  if (!(error instanceof HttpStatusError)) {
    const cause = error instanceof Error ? (error.cause ?? error) : error;
    return new FedtuneError("resources", { where, expected: `an answer of ${new URL(url).origin}`, got: `none (${fileErrorCode(cause) ?? messageOf(cause)})`, remedy: `Check the network (FEDTUNE_GITHUB names another address), or ${byHand}`, details, cause: error });
  }
  const status = error.statusCode;
  const got = `status ${status}`;
  if (status === 404 || status === 410) return new FedtuneError("data", { where, expected: `a file at ${url}`, got, remedy: `The source no longer has it: ${byHand}`, details, cause: error });
  if (status === 401 || status === 403) return new FedtuneError("data", { where, expected: `a file at ${url} that may be read`, got, remedy: `Check what stands between this machine and the source, or ${byHand}`, details, cause: error });
  return new FedtuneError("resources", { where, expected: `the file at ${url}`, got, remedy: `Try again later, or ${byHand}`, details, cause: error });
}
