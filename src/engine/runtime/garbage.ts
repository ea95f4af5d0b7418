/** Gives V8's garbage back to the system before memory is needed outside of V8, which never asks it to. */
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

/** Collects the garbage of the calling thread. */
export function collectGarbage(): void {
  setFlagsFromString("--expose-gc");
  // A context made after the flag was set has this function.
  const collect = runInNewContext("gc") as () => void;
  collect();
}
