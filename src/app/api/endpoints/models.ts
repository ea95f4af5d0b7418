/** GET /v1/models and /v1/models/*: the base and the adapters. */
import type { ServedModel } from "../../../index.ts";
import type { Endpoint } from "../endpoint.ts";
import { findModel } from "../find-model.ts";
import { sendJson } from "../reply.ts";

const describe = (model: ServedModel, name: string, created: number): Readonly<Record<string, unknown>> => ({ id: name, object: "model", created, owned_by: "fedtune", max_model_len: model.contextTokens(name) });

export const models: Endpoint = {
  method: "GET",
  answer({ model, response, created }) {
    sendJson(response, { object: "list", data: model.names.map((name) => describe(model, name, created)) });
  },
};

export const oneModel: Endpoint = {
  method: "GET",
  answer({ model, response, rest, created }) {
    sendJson(response, describe(model, findModel(model, rest), created));
  },
};
