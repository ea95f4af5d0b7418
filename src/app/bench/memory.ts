/** Private memory of this process. */
import { readFileSync } from "node:fs";
import { setImmediate } from "node:timers/promises";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

/** Bytes of memory that is no file's; undefined where the system does not say (elsewhere than on Linux). */
function anonymousBytes(): number | undefined {
  try {
    const kilobytes = /^Anonymous:\s+(\d+) kB$/m.exec(readFileSync("/proc/self/smaps_rollup", "utf8"))?.[1];
    return kilobytes === undefined ? undefined : Number(kilobytes) * 1024;
  } catch {
    return undefined;
  }
}

/** Private memory after garbage is collected. */
export async function privateBytes(): Promise<number | undefined> {
  setFlagsFromString("--expose-gc");
  // V8 defines it under the flag, as a function without arguments.
  const collect = runInNewContext("gc") as () => void;
  for (let i = 0; i < 3; i++) {
    collect();
    await setImmediate();
  }
  return anonymousBytes();
}
