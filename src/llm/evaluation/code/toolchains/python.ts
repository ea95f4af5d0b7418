/** CPython. */
import { ask, finding, RUN, type Toolchain } from "./toolchain.ts";

export const python: Toolchain = {
  title: "Python",
  find: ({ signal }) =>
    finding("python3", async (path) => {
      // A virtual environment or a version manager hides the installation; only the installation itself is shown to programs.
      const asked = await ask(path, ["-I", "-c", "import sys, os; print(os.path.realpath(sys.executable), sys.base_prefix, sys.version.split()[0], sep='\\n')"], { ...(signal && { signal }) });
      const [executable = "", prefix = "", version = ""] = asked.split("\n");
      return {
        version: `Python ${version}`,
        notes: [],
        program: (source) =>
          Promise.resolve({
            files: { "main.py": source },
            phases: [{ ...RUN, command: [executable, "-I", "-B", "main.py"] }],
            visible: [executable, ...(prefix === "/" ? [] : [prefix])],
          }),
      };
    }),
};
