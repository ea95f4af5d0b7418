/** Node. */
import { readFileSync } from "node:fs";
import { ask, finding, realPath, RUN, type Toolchain } from "./toolchain.ts";

const MD5 = new URL("../libraries/js-md5.js", import.meta.url);

export const js: Toolchain = {
  title: "JavaScript",
  find: ({ signal }) =>
    finding("node", async (path) => {
      // The real file, asked of Node itself: what lies on the PATH may be a shim.
      const asked = await ask(path, ["-p", "process.execPath + '\\n' + process.version"], { ...(signal && { signal }) });
      const [executable = "", version = ""] = asked.split("\n");
      const node = realPath(executable);
      const md5 = readFileSync(MD5, "utf8");
      return {
        version: `Node ${version}`,
        notes: ["js-md5 is a stand-in over Node's own crypto"],
        program: (source) =>
          Promise.resolve({
            files: { "main.js": source, "node_modules/js-md5/index.js": md5 },
            phases: [{ ...RUN, command: [node, "--max-old-space-size=512", "main.js"] }],
            visible: [node],
          }),
      };
    }),
};
