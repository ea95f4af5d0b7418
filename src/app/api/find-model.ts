/** Which model a request means. */
import { messageOf } from "../../core/index.ts";
import type { ServedModel } from "../../index.ts";
import { ApiError } from "./api-error.ts";

/** The name that is served. Throws ApiError 404 with the nearest. */
export function findModel(model: ServedModel, name: string): string {
  try {
    return model.find(name);
  } catch (error) {
    throw new ApiError(404, messageOf(error), { type: "invalid_request_error", code: "model_not_found", param: "model" });
  }
}
