/** `npm run layers`: checks every import edge of src/ against the table of layers. Exit 1 where one is not allowed. */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { globSync } from "tinyglobby";
import { checkLayers } from "./layers/check.ts";

const root = new URL("../src/", import.meta.url);
const files = new Map(globSync("**/*.ts", { cwd: fileURLToPath(root) }).map((path) => [path, readFileSync(new URL(path, root), "utf8")]));
const violations = checkLayers(files);
for (const violation of violations) console.log(`src/${violation}`);
console.log(`${files.size} files, ${violations.length} violations`);
process.exitCode = violations.length > 0 ? 1 : 0;
