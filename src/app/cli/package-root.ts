/** Where this package lies: its `package.json` and `assets/`, from source and from the built `dist/` alike. */
import { fileURLToPath } from "node:url";

/** The absolute path of a file of this package, given relative to its root. */
export function packagePath(relative: string): string {
  return fileURLToPath(new URL(`../../../${relative}`, import.meta.url));
}
