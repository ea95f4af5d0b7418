/**
 * No enclosure at all: the program runs as the user who started it, in a session of its own, under limits. For systems without
 * namespaces, and only where the caller says that it may.
 */
import type { Enclosure } from "./enclosure.ts";
import { phaseScript, quote } from "./phases.ts";
import { countTasks } from "./processes.ts";

/**
 * Descriptor 3 is a socket that the parent holds: reading from it ends when the parent is gone, however it went. Then the whole
 * group ends, which nobody would look after any more. A program that took a group of its own is not found.
 */
const END_WITH_PARENT = `(exec >/dev/null 2>&1; read -r gone <&3; kill -KILL 0) & watch=$!
trap 'kill -KILL "$watch" 2>/dev/null; wait "$watch" 2>/dev/null' EXIT`;

/** Limits alone. The system counts all processes of the user, so the limit stands on top of what runs now. */
export const bare: Enclosure = {
  name: "none",
  walls: [],
  scratch: (input) => input,
  command({ limits, environment, phases, input }) {
    const running = countTasks();
    const processes = running === undefined ? undefined : running + limits.processes;
    const script = phaseScript(phases, { limits, environment, before: [], byUlimit: { processes } });
    return ["sh", "-c", `cd ${quote(input)} && mkdir -p .tmp || exit 1\n${END_WITH_PARENT}\n${script}`];
  },
};
