/** All endpoints, by path; a `*` at the end stands for anything. */
import type { Endpoint } from "./endpoint.ts";
import { chatCompletions } from "./endpoints/chat-completions.ts";
import { completions } from "./endpoints/completions.ts";
import { health } from "./endpoints/health.ts";
import { models, oneModel } from "./endpoints/models.ts";

export const ENDPOINTS: Readonly<Record<string, Endpoint>> = {
  "/health": health,
  "/v1/models": models,
  "/v1/models/*": oneModel,
  "/v1/completions": completions,
  "/v1/chat/completions": chatCompletions,
};
