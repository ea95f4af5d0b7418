/** Resolves the automatic choices of the runtime once, so that a resume reuses them. */
import { availableParallelism, totalmem } from "node:os";
import { FedtuneError } from "../../core/base/errors.ts";
import { bytesPerElement, isHalf, type ComputeDType, type DType } from "../../core/base/tensor.ts";
import { BYTE_DTYPES, type ByteDType } from "../../engine/graph/byte-weights.ts";
import { isExactProduct } from "../../engine/runtime/byte-products.ts";
import { chooseDevice, requireHalf } from "../../engine/runtime/choose-device.ts";
import { thisMachine } from "../../engine/runtime/machine-devices.ts";
import type { ChosenDevice } from "../../engine/runtime/choose-device.ts";
import type { MachineDevices } from "../../engine/runtime/machine-devices.ts";
import type { Device } from "../../engine/graph/onnx/emitter.ts";
import type { LinearModule } from "../architectures/sites.ts";
import { byteDType, type BasePrecision, type HeldPrecision } from "../architectures/quantized-weights.ts";
import { chooseFloat32Modules, type OpenedFolder } from "./float32-modules.ts";
import type { ResolvedRuntime } from "./setup.ts";
import { parseSize, type RuntimeSettings } from "./settings.ts";

/** What the choices depend on. */
export interface RuntimeFacts {
  /** Width of the model's hidden state. */
  readonly hiddenSize: number;
  /** Clients that take part in a round. */
  readonly clients: number;
  /** Tokens of one client's step, on average. */
  readonly stepTokens: number;
  /** Tokens of the longest row, which a pass takes whole; absent: they decide nothing. */
  readonly rowTokens?: number;
  /** Parameters of the base. */
  readonly parameters?: number;
  /** The model's linear modules, where it trains: how much a token leaves for the backward pass goes by their widths. */
  readonly linears?: readonly Pick<LinearModule, "inFeatures" | "outFeatures" | "isHead">[];
  /** Trainers that are open at the same time, each with sessions of its own; absent: one. */
  readonly workers?: number;
  /** What `chooseDevice` chose; absent: the CPU. */
  readonly device?: Device;
  /** What `resolveCompute` gave; absent: float32. */
  readonly compute?: ComputeDType;
  /** The model's folder and what its config says: where they are known, modules that stay float32 are found in them; absent: there are none. */
  readonly opened?: OpenedFolder;
}

/** Below this width a pass is bound by the number of nodes, not by arithmetic. */
const TINY_WIDTH = 128;
/** Tokens of one pass: half the memory of 1,024 at nearly the same speed (docs/benchmarks.md); the fewer where the budget would make a pass of more compute a part of them twice. */
const TOKENS = { tiny: 2048, other: [512, 256] } as const;
/**
 * Clients side by side pay where a client's own step is too small to fill a pass: 2.4 times the speed at 60 tokens a step,
 * 1.4 at 120, 0.6 at 480 (story model, docs/benchmarks.md).
 */
const SIDE_BY_SIDE = { tokens: 480, most: 8 } as const;

/**
 * Two sessions of half the threads do more than one of all (docs/benchmarks.md); more were not tried. They share the base in
 * memory of the process's own, which the system cannot drop as it can mapped pages: by itself only where that is little of it.
 */
const DATA_PARALLEL = { sessions: 2, machineShare: 1 / 8, mostBytes: 4e9 } as const;

/**
 * Activations may take half of the base in the dtype that is computed in, which is needed anyway; more where a step has several passes,
 * which share it where they run at the same time; and half of what a rounded base saves. Small models get room to keep everything.
 */
const ACTIVATIONS = { baseShare: { onePass: 0.5, several: 0.625 }, savedShare: 0.5, leastBytes: 256e6, machineShare: 0.25 } as const;
/** About how many bytes of a rounded base a weight of a linear module takes, scales left out, and how many more the output embedding. */
const ROUNDED_BYTES = { int8: { linear: 2, head: 2 }, uint8: { linear: 2, head: 2 }, int4: { linear: 0.625, head: 0 } } as const;

/** About how much less a rounded base takes than one in the dtype that is computed in. */
function savedBytes(precision: HeldPrecision, { linears = [], compute }: { readonly linears?: RuntimeFacts["linears"]; readonly compute: ComputeDType }): number {
  if (precision === "float32") return 0;
  const { linear, head } = ROUNDED_BYTES[precision];
  return linears.reduce((sum, { inFeatures, outFeatures, isHead }) => sum + inFeatures * outFeatures * (isHead ? -head : bytesPerElement(compute) - linear), 0);
}

function activationBytes(setting: RuntimeSettings["activation_memory"], { baseBytes, saved, passes }: { readonly baseBytes: number; readonly saved: number; readonly passes: keyof typeof ACTIVATIONS.baseShare }): number | undefined {
  if (setting === "none") return undefined;
  if (setting !== "auto") return parseSize(setting);
  const wanted = ACTIVATIONS.baseShare[passes] * baseBytes + ACTIVATIONS.savedShare * Math.max(0, saved);
  return Math.floor(Math.min(totalmem() * ACTIVATIONS.machineShare, Math.max(ACTIVATIONS.leastBytes, wanted)));
}

/** About how much a token leaves for the backward pass of a training pass: what goes into its linear modules and what comes out of them (within a tenth of what two models were seen to take; LOG.md). */
function bytesOfToken(linears: RuntimeFacts["linears"] = [], compute: ComputeDType): number {
  return linears.reduce((sum, { inFeatures, outFeatures, isHead }) => sum + (isHead ? 0 : inFeatures + outFeatures), 0) * bytesPerElement(compute);
}

/** The largest pass of those tried that fits the budget whole. */
function tokensOfPass({ hiddenSize, linears, device = "cpu", compute = "float32" }: RuntimeFacts, budget = Infinity): number {
  if (hiddenSize <= TINY_WIDTH) return TOKENS.tiny;
  const [most, fewer] = TOKENS.other;
  return device === "cpu" && most * bytesOfToken(linears, compute) > budget ? fewer : most;
}

/** Passes at the same time: where a step has as many, on threads that can be shared out. Devices of their own share nothing. */
function dataParallelOf(asked: RuntimeSettings["data_parallel"], { threads, several }: { readonly threads: number; readonly several: boolean }, { hiddenSize, parameters = 0, workers = 1, device = "cpu", compute = "float32" }: RuntimeFacts): number {
  if (device !== "cpu") return 1;
  if (asked !== "auto") return Math.min(asked, threads);
  const isLight = bytesPerElement(compute) * parameters <= Math.min(DATA_PARALLEL.mostBytes, DATA_PARALLEL.machineShare * totalmem());
  return isLight && workers === 1 && hiddenSize > TINY_WIDTH && several ? Math.min(DATA_PARALLEL.sessions, threads) : 1;
}

/**
 * How a base of the precision asked for is held: 8 bits in the first form whose products are exact on this machine.
 * @throws FedtuneError("resources") where no form is
 */
export async function holdPrecision(asked: BasePrecision, isExact: (dtype: ByteDType) => Promise<boolean> = isExactProduct): Promise<HeldPrecision> {
  if (byteDType(asked) === undefined) return asked;
  for (const dtype of BYTE_DTYPES) if (await isExact(dtype)) return dtype;
  throw new FedtuneError("resources", { where: `runtime.base_precision: ${asked}`, expected: "a processor on which onnxruntime multiplies bytes exactly", got: "wrong sums in every form", remedy: "Choose runtime.base_precision=float32 or int4" });
}

/**
 * Refuses a precision that another machine resolved and whose products are wrong here.
 * @throws FedtuneError("resources") with the way out
 */
export async function requireExact(held: HeldPrecision, isExact: (dtype: ByteDType) => Promise<boolean> = isExactProduct): Promise<void> {
  const dtype = byteDType(held);
  if (dtype === undefined || (await isExact(dtype))) return;
  throw new FedtuneError("resources", { where: "8-bit base", expected: `exact products with ${dtype} weights, as resolved when the run started`, got: "sums that saturate on this machine", remedy: "Resume where the run began, or start a new run here" });
}

/**
 * The settings with every `auto` replaced. A group is never larger than the clients of a round.
 * @throws what `holdPrecision` and `chooseFloat32Modules` throw
 */
export async function resolveRuntime(settings: RuntimeSettings, facts: RuntimeFacts): Promise<ResolvedRuntime> {
  const { hiddenSize, clients, stepTokens, parameters = 0, device = "cpu", compute = "float32", opened, linears, rowTokens = 0 } = facts;
  const tiny = hiddenSize <= TINY_WIDTH;
  const { threads, clients_side_by_side: sideBySide, tokens_per_micro_batch: tokens } = settings;
  const fitting = tiny ? Math.min(SIDE_BY_SIDE.most, Math.floor(SIDE_BY_SIDE.tokens / stepTokens)) : 1;
  const basePrecision = await holdPrecision(settings.base_precision);
  const float32Modules = opened === undefined ? [] : await chooseFloat32Modules(settings.float32_modules, basePrecision, opened);
  const bytesOf = (passes: keyof typeof ACTIVATIONS.baseShare): number | undefined =>
    activationBytes(settings.activation_memory, { baseBytes: bytesPerElement(compute) * parameters, saved: savedBytes(basePrecision, { linears, compute }), passes });
  const tokensPerMicroBatch = tokens === "auto" ? tokensOfPass(facts, bytesOf("onePass")) : tokens;
  const several = stepTokens > Math.max(tokensPerMicroBatch, rowTokens);
  const bytes = bytesOf(several ? "several" : "onePass");
  const allThreads = threads === "auto" ? availableParallelism() : threads;
  const dataParallel = dataParallelOf(settings.data_parallel, { threads: allThreads, several }, facts);
  return {
    device,
    basePrecision,
    ...(float32Modules.length === 0 ? {} : { float32Modules }),
    compute,
    threads: allThreads,
    ...(dataParallel === 1 ? {} : { dataParallel }),
    clientsSideBySide: Math.max(1, Math.min(clients, sideBySide === "auto" ? fitting : sideBySide)),
    tokensPerMicroBatch,
    ...(bytes === undefined ? {} : { activationBytes: bytes }),
  };
}

/**
 * The device of a run. Bases of 8 bits run on the CPU, where their products are.
 * @throws FedtuneError("resources") where a device asked for by name is not there; ("config") where it cannot run the base's precision
 */
export async function resolveDevice({ device, base_precision }: RuntimeSettings, machine?: MachineDevices): Promise<ChosenDevice> {
  if (base_precision !== "int8") return await chooseDevice(device, machine);
  if (device === "cpu" || device === "auto") return await chooseDevice("cpu", machine);
  throw new FedtuneError("config", { where: "runtime.base_precision", expected: `float32 or int4 on ${device}, which has no 8-bit products`, got: "int8", remedy: "Choose another precision, or runtime.device=cpu" });
}

/**
 * The dtype that a run computes in. `auto`: float32 on the CPU; on a GPU the checkpoint's own half precision where the device can
 * compute in it, else float32, since another half precision would change the weights.
 * @throws FedtuneError("resources") where a dtype asked for by name is not the device's, saying what is missing
 */
export async function resolveCompute({ compute }: Pick<RuntimeSettings, "compute">, { device, checkpoint }: { readonly device: ChosenDevice; readonly checkpoint: DType }, machine: MachineDevices = thisMachine): Promise<ComputeDType> {
  if (compute === "auto") return device.device !== "cpu" && isHalf(checkpoint) && (await machine.whyNotHalf(device.device, checkpoint)) === undefined ? checkpoint : "float32";
  if (isHalf(compute)) await requireHalf(device, compute, machine);
  return compute;
}
