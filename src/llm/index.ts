/** The language-model room's public API. */
export { adapterSchema } from "./adapters/settings.ts";
export type { AdapterSettings } from "./adapters/settings.ts";
export { writeRandomModel } from "./architectures/random-model.ts";
export { encodeExamples } from "./data/encode.ts";
export { encodeExample } from "./data/encode-example.ts";
export { loadExamples } from "./data/load-examples.ts";
export { dataSchema } from "./data/settings.ts";
export { loadTemplate } from "./data/templates/load.ts";
export type { Example } from "./data/examples.ts";
export type { SourceFunction } from "./data/sources/own.ts";
export type { TemplateFunction } from "./data/templates/own.ts";
export type { EncodedDataset } from "./data/types.ts";
export type { TextPiece } from "./text/conversation.ts";
export { loadTokenizer } from "./text/tokenizer.ts";
export { resolveRuntime } from "./training/resolve-runtime.ts";
export { runtimeSchema, trainingSchema } from "./training/settings.ts";
export { createTrainer } from "./training/trainer.ts";
export type { StepReport, Trainer } from "./training/types.ts";
