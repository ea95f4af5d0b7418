/** Run as a process on Linux: prepares the base of the model folder in a precision, or a half precision, and prints by how many bytes the process grew at its peak, and the file. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { HALF_DTYPES } from "../../core/base/tensor.ts";
import { openArchitecture } from "./all.ts";
import { prepareBase } from "./prepared-base.ts";
import { HELD_PRECISIONS } from "./quantized-weights.ts";

const [, , folder = "", asked] = process.argv;
const precision = HELD_PRECISIONS.find((own) => own === asked);
const model = await openArchitecture(folder);
const before = process.memoryUsage().rss;
const dtype = HALF_DTYPES.find((own) => own === asked);
const { weights } = await prepareBase(folder, model, { ...(precision && { precision }), ...(dtype && { dtype }) });
// Of this program alone (getrusage counts what the parent had at the fork). The file is written, not mapped: all that was added is private.
const peak = /^VmHWM:\s*(\d+) kB$/m.exec(readFileSync("/proc/self/status", "utf8"))?.[1];
const grownBytes = Number(peak) * 1024 - before;
process.stdout.write(JSON.stringify({ grownBytes, file: join(weights.folder, weights.locate("model.norm.weight").file) }));
