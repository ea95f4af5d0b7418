/**
 * `npm run reference`: writes `docs/config.md` and `docs/experiment.schema.json` from the config's schema. A test holds them against it.
 */
import { writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { allFields, experimentJsonSchema } from "../src/app/experiment/json-schema.ts";

const cell = (text: string): string => text.replaceAll("|", "\\|");

/** The pages by file name, relative to docs/. */
export function referencePages(): ReadonlyMap<string, string> {
  const rows = allFields().map(({ path, description, values, default: fallback }) => {
    const isGroup = values === "";
    const shown = isGroup || fallback === undefined ? "" : `\`${JSON.stringify(fallback)}\``;
    return `| \`${path}\` | ${cell(description)} | ${cell(values)} | ${cell(shown)} |`;
  });
  const page = [
    "# The config",
    "",
    "One YAML file; `key=value` on the command line overrides a field (`federation.rounds=3`). Paths are relative to the file, on the command line to the working",
    "directory. Made from the schema by `npm run reference`; [experiment.schema.json](experiment.schema.json) is the same for editors: put",
    "`# yaml-language-server: $schema=…/experiment.schema.json` into the first line of a config.",
    "",
    "| field | what it is | values | default |",
    "|---|---|---|---|",
    ...rows,
    "",
  ].join("\n");
  return new Map([["config.md", page], ["experiment.schema.json", `${JSON.stringify(experimentJsonSchema(), null, 2)}\n`]]);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  for (const [name, text] of referencePages()) {
    writeFileSync(new URL(`../docs/${name}`, import.meta.url), text);
  }
}
