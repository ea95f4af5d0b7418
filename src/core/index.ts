/** The core room's public API. */
export { didYouMean, EXIT_CODES, FedtuneError, messageOf, must } from "./base/errors.ts";
export type { ErrorCode } from "./base/errors.ts";
export { normals, randomKey, uniforms } from "./base/random.ts";
export type { NamedTensors, Tensor } from "./base/tensor.ts";
export { cacheFolder } from "./store/cache.ts";
export { ensureWritableFolder, writeFileAtomic } from "./store/files.ts";
