/** GET /health: whether the server answers. */
import type { Endpoint } from "../endpoint.ts";
import { sendJson } from "../reply.ts";

export const health: Endpoint = {
  method: "GET",
  answer({ response }) {
    sendJson(response, { status: "ok" });
  },
};
