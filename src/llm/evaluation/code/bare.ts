/**
 * No enclosure at all: the program runs as the user who started it, in a session of its own, under limits. For systems without
 * namespaces, and only where the caller says that it may.
 */
import type { Enclosure } from "./enclosure.ts";
import { phaseScript, quote } from "./phases.ts";
import { countTasks } from "./processes.ts";

/** Limits alone. The system counts all processes of the user, so the limit stands on top of what runs now. */
export const bare: Enclosure = {
  name: "none",
  walls: [],
  scratch: (input) => input,
  command({ limits, environment, phases, input }) {
    const running = countTasks();
    const processes = running === undefined ? undefined : running + limits.processes;
    const script = phaseScript(phases, { limits, environment, before: [], byUlimit: { processes } });
    return ["sh", "-c", `cd ${quote(input)} && mkdir -p .tmp || exit 1\n${script}`];
  },
};
