/** Where the Hugging Face Hub is, who asks, and where its files are kept: the variables that Hugging Face's own tools read. */
import { readFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { FedtuneError } from "../base/errors.ts";

export type Environment = Readonly<Record<string, string | undefined>>;

export interface HubSettings {
  /** Address of the Hub, without a slash at its end. */
  readonly endpoint: string;
  readonly token: string | undefined;
  /** The folder that holds `models--owner--name`. */
  readonly cacheFolder: string;
  /** Whether only the cache may be used. */
  readonly offline: boolean;
}

function readToken(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8").trim() || undefined;
  } catch {
    // No token file: nobody is logged in.
    return undefined;
  }
}

/**
 * Settings given here, else those of the environment (HF_ENDPOINT, HF_TOKEN or the file of `hf auth login`, HF_HUB_CACHE,
 * HF_HOME, XDG_CACHE_HOME, HF_HUB_OFFLINE), else the defaults. Empty values count as not given.
 * @throws FedtuneError("config") for a token that does not begin with "hf_"
 */
export function hubSettings(given: { readonly token?: string; readonly cacheFolder?: string; readonly endpoint?: string }, environment: Environment): HubSettings {
  const home = environment["HF_HOME"] || join(environment["XDG_CACHE_HOME"] || join(homedir(), ".cache"), "huggingface");
  const token = given.token || environment["HF_TOKEN"] || environment["HUGGING_FACE_HUB_TOKEN"] || readToken(environment["HF_TOKEN_PATH"] || join(home, "token"));
  if (token !== undefined && !token.startsWith("hf_")) {
    throw new FedtuneError("config", { where: "the Hub's access token", expected: 'a text that begins with "hf_"', got: `one of ${token.length} characters that does not`, remedy: "Check HF_TOKEN, or log in again with `hf auth login`" });
  }
  return {
    endpoint: (given.endpoint || environment["HF_ENDPOINT"] || "https://huggingface.co").replace(/\/+$/, ""),
    token,
    cacheFolder: given.cacheFolder || environment["HF_HUB_CACHE"] || environment["HUGGINGFACE_HUB_CACHE"] || join(home, "hub"),
    offline: /^(1|true|yes|on)$/i.test(environment["HF_HUB_OFFLINE"] ?? ""),
  };
}
