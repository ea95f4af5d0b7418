/** What onnxruntime is told about the device that a session runs on. */
import type { InferenceSession } from "onnxruntime-node";
import type { Device } from "../graph/onnx/emitter.ts";

/** Options of a session on a device; what it has no kernel for runs on the CPU. */
export function deviceOptions(device: Device): InferenceSession.SessionOptions {
  return { executionProviders: device === "cpu" ? ["cpu"] : [device, "cpu"], logSeverityLevel: device === "cpu" ? 3 : 4 };
}
