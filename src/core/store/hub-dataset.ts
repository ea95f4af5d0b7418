/** Files of data sets on the Hugging Face Hub: from `hub:owner/name@revision/file` to paths in the cache. */
import { existsSync, readdirSync } from "node:fs";
import { join, posix } from "node:path";
import { FedtuneError } from "../base/errors.ts";
import { fetchSnapshot, isHubId, type HubOptions } from "./hub-repository.ts";
import { snapshotPath } from "./hub-download.ts";

/** Which files of which repository are meant. */
export interface HubDatasetReference {
  readonly name: string;
  /** Branch, tag or commit; "main" where the reference names none. */
  readonly revision: string;
  /** Path in the repository; `*` in its last part stands for any text. */
  readonly file: string;
}

/** Files of a data set on this machine, in the order of their names. */
export interface HubDatasetFiles {
  readonly commit: string;
  readonly files: readonly { readonly path: string; readonly name: string }[];
}

/** How a reference begins. */
export const HUB_PREFIX = "hub:";

/**
 * Reads `hub:owner/name@revision/file`; the revision may be left out, and a slash in it is written %2F.
 * @throws FedtuneError("config") for anything else
 */
export function parseHubReference(text: string): HubDatasetReference {
  const [, owner = "", repository = "", revision, file = ""] = /^hub:([^/@]+)\/([^/@]+)(?:@([^/]+))?\/(.+)$/.exec(text) ?? [];
  const name = `${owner}/${repository}`;
  const parts = file.split("/");
  if (!isHubId(name) || parts.some((part) => part === "" || part === "." || part === "..") || parts.slice(0, -1).some((part) => part.includes("*"))) {
    throw new FedtuneError("config", { where: `data set ${text}`, expected: "hub:owner/name@revision/file, such as hub:databricks/databricks-dolly-15k@main/databricks-dolly-15k.jsonl", got: file === "" ? "no file" : "another form", remedy: "Write the path of a file in the repository; `*` may stand in its last part, and a slash in the revision is written %2F" });
  }
  return { name, revision: decodeURIComponent(revision ?? "main"), file };
}

/** Whether a name fits a pattern in which `*` stands for any text. */
function fits(pattern: string): (name: string) => boolean {
  const expression = new RegExp(`^${pattern.split("*").map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")).join(".*")}$`);
  return (name) => expression.test(name);
}

/**
 * Brings the files of a reference into Hugging Face's own cache, each verified by the hash that the Hub states.
 * @throws FedtuneError("data") for a data set, revision or file that the Hub lacks or does not show; else as `fetchSnapshot`
 */
export async function fetchHubFiles({ name, revision, file }: HubDatasetReference, options: HubOptions = {}): Promise<HubDatasetFiles> {
  const folder = posix.dirname(file);
  const isWanted = fits(posix.basename(file));
  const inside = folder === "." ? "" : `${folder}/`;
  const present = (snapshot: string): string[] => {
    const at = join(snapshot, ...inside.split("/"));
    return existsSync(at) ? readdirSync(at).filter(isWanted) : [];
  };
  let picked: readonly string[] = [];
  const snapshot = await fetchSnapshot(
    { type: "dataset", name, revision },
    {
      ...(folder === "." ? {} : { folder }),
      // A pattern may stand for more files than an earlier, broken attempt brought: only the Hub can tell.
      holds: (at) => !file.includes("*") && present(at).length > 0,
      pick: (files) => {
        const found = files.filter(({ path }) => path.startsWith(inside) && isWanted(path.slice(inside.length)));
        if (found.length > 0) {
          picked = found.map(({ path }) => path);
          return found;
        }
        const there = files.slice(0, 8).map(({ path }) => path).join(", ");
        throw new FedtuneError("data", { where: `data set ${name} on the Hub`, expected: `a file ${file} at revision ${revision}`, got: there === "" ? "no files in that folder" : `only ${there}${files.length > 8 ? ", …" : ""}`, remedy: "Check the path in the repository" });
      },
    },
    options,
  );
  const paths = picked.length > 0 ? picked : present(snapshot.folder).map((base) => `${inside}${base}`);
  return { commit: snapshot.commit, files: paths.toSorted().map((path) => ({ path: snapshotPath(join(snapshot.folder, "..", ".."), snapshot.commit, path), name: path })) };
}
