import { request as httpRequest } from "node:http";
import { cpSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { randomAdapter, temporaryFolder } from "../../../test/support/tiny-training.ts";
import { aliveResources } from "../../core/base/disposal.ts";
import { must } from "../../core/base/errors.ts";
import { generate, openChat, openJudgedModel, openServedModel, type ServedModel } from "../../index.ts";
import { writeAdapterFolder } from "../../llm/adapters/adapter-folder.ts";
import { bindAdapter } from "../../llm/adapters/all.ts";
import { adapterSchema } from "../../llm/adapters/settings.ts";
import { openArchitecture } from "../../llm/architectures/all.ts";
import { requireKey, startServer, type ApiServer, type ServerOptions } from "./server.ts";

const folder = temporaryFolder();
const MODEL = join(folder, "tales");
const SETTINGS = { small: { r: 2, target_modules: ["q_proj", "v_proj"] }, twin: { r: 2, target_modules: ["q_proj", "v_proj"] }, scaled: { method: "ia3", target_modules: ["k_proj", "down_proj"], feedforward_modules: ["down_proj"] } } as const;
const folders = Object.fromEntries(Object.keys(SETTINGS).map((name) => [name, join(folder, name)]));
const PROMPT = "Once upon a time, there was a little girl named Lily.";
const GREEDY = { temperature: 0, topK: 0, topP: 1, stop: [], seed: 1 };
let model: ServedModel;
let server: ApiServer;
const faults: unknown[] = [];

const serverOptions = (): ServerOptions => ({ model, host: "127.0.0.1", port: 0, maxBodyBytes: 20_000, graceMs: 10_000, onFault: (error) => faults.push(error) });

beforeAll(async () => {
  cpSync("assets/stories260k", MODEL, { recursive: true });
  writeFileSync(join(MODEL, "chat_template.jinja"), "{% for m in messages %}{% if m.role == 'tool' %}{{ raise_exception('no tools here') }}{% endif %}{{ m.content }} {% endfor %}");
  const architecture = await openArchitecture(MODEL);
  for (const [i, [name, given]] of Object.entries(SETTINGS).entries()) {
    const settings = adapterSchema.parse(given);
    writeAdapterFolder(must(folders[name], name), { settings, model: architecture, baseModel: MODEL, parameters: randomAdapter(bindAdapter(settings, architecture).parameters, i + 1), frozen: new Map() });
  }
  model = await openServedModel({ model: MODEL, adapters: folders, batchSize: 8, queueSize: 64 });
  server = await startServer(serverOptions());
});
afterAll(async () => {
  await server[Symbol.asyncDispose]();
  await model[Symbol.asyncDispose]();
  expect([faults, aliveResources()]).toEqual([[], 0]);
});

interface ChatToken {
  readonly token: string;
  readonly logprob: number;
  readonly bytes: number[];
  readonly top_logprobs: readonly ChatToken[];
}

/** The parts of replies that are looked at, of all kinds of reply. */
interface Choice {
  readonly index: number;
  readonly text: string;
  readonly finish_reason: string | null;
  readonly delta: { readonly role?: string; readonly content?: string };
  readonly logprobs: { readonly tokens: readonly string[]; readonly token_logprobs: readonly number[]; readonly top_logprobs: readonly Readonly<Record<string, number>>[]; readonly text_offset: readonly number[]; readonly content?: readonly ChatToken[] } | null;
}

interface Body {
  readonly choices: readonly Choice[];
  readonly error: { readonly message: string; readonly type: string; readonly param: string | null; readonly code: string | null };
}

interface Reply {
  readonly status: number;
  readonly body: Body;
}

const post = (path: string, body: unknown, type = "application/json"): Promise<Response> =>
  fetch(`${server.url}${path}`, { method: "POST", body: typeof body === "string" ? body : JSON.stringify(body), headers: { "content-type": type } });
const ask = async (path: string, body: unknown, type?: string): Promise<Reply> => {
  const response = await post(path, body, type);
  // A test reads what it expects to be there; what is not makes it fail.
  return { status: response.status, body: (await response.json()) as Body };
};
const complete = (body: Readonly<Record<string, unknown>>): Promise<Reply> => ask("/v1/completions", { model: "tales", prompt: PROMPT, temperature: 0, ...body });

/** The events of a stream, without the `[DONE]` at its end. */
async function events(path: string, body: unknown): Promise<readonly Body[]> {
  const response = await post(path, body);
  expect(response.headers.get("content-type")).toContain("text/event-stream");
  const lines = (await response.text()).split("\n\n").filter((line) => line !== "");
  expect(lines.at(-1)).toBe("data: [DONE]");
  return lines.slice(0, -1).map((line) => JSON.parse(line.replace(/^data: /, "")) as Body);
}

const firstChoice = ({ choices: [choice] }: Body): Choice => must(choice, "choice");
const logprobsOf = ({ logprobs }: Choice): NonNullable<Choice["logprobs"]> => must(logprobs, "logprobs");

test("the base and each adapter are models by name", async () => {
  const list: unknown = await (await fetch(`${server.url}/v1/models`)).json();
  expect(list).toMatchObject({ object: "list", data: ["tales", "small", "twin", "scaled"].map((id) => ({ id, object: "model", owned_by: "fedtune", max_model_len: 512 })) });
  expect(await (await fetch(`${server.url}/v1/models/twin`)).json()).toMatchObject({ id: "twin" });
  expect(await (await fetch(`${server.url}/v1/models/twni`)).json()).toMatchObject({ error: { code: "model_not_found", message: expect.stringContaining("Did you mean `twin`?") } });
  expect((await fetch(`${server.url}/health`)).status).toBe(200);
});

describe("completions", () => {
  test("continue a prompt as `fedtune generate` does, and count its tokens", async () => {
    const { status, body } = await complete({ max_tokens: 12 });
    const alone = await generate({ model: MODEL, prompt: PROMPT, maxNewTokens: 12, ...GREEDY });
    expect(status).toBe(200);
    expect(body).toMatchObject({ object: "text_completion", model: "tales", choices: [{ index: 0, text: alone.text, logprobs: null, finish_reason: "length" }], usage: { prompt_tokens: 16, completion_tokens: 12, total_tokens: 28 } });
  });

  test("echo with logprobs gives the scoring function's log-probabilities, for ids, texts and lists of them", async () => {
    await using judged = await openJudgedModel({ model: MODEL });
    const texts = [PROMPT, "Tom saw a dog", "The big cat"];
    const ids = texts.map((text) => judged.tokenizer.encode(text, { addSpecialTokens: true }));
    const scores = await judged.trainer.score({ shared: new Int32Array(), texts: ids.map((one) => ({ ids: one, labels: one, branches: [] })) }, {});
    for (const prompt of [texts, ids.map((one) => [...one])]) {
      for (const max_tokens of [0, 1]) {
        const { body } = await complete({ prompt, max_tokens, echo: true, logprobs: 2 });
        expect(body.choices).toHaveLength(3);
        for (const [i, choice] of body.choices.entries()) {
          const { index, text } = choice;
          const logprobs = logprobsOf(choice);
          const length = must(ids[i], "ids").length;
          expect(index).toBe(i);
          expect(text).toContain(texts[i]);
          expect(logprobs.tokens).toHaveLength(length + max_tokens);
          expect([logprobs.token_logprobs[0], logprobs.top_logprobs[0]]).toEqual([null, null]);
          expect(logprobs.tokens.slice(1).join("").trimStart()).toBe(text.replace("<s>", "").trimStart());
          must(scores[i], "score").losses.forEach((loss, t) => expect(Math.abs((logprobs.token_logprobs[t + 1] ?? NaN) + loss)).toBeLessThan(1e-5));
          for (let t = 1; t < length + max_tokens; t++) {
            expect(Object.values(logprobs.top_logprobs[t] ?? {})).toContain(logprobs.token_logprobs[t]);
            expect(Object.keys(logprobs.top_logprobs[t] ?? {}).length).toBeGreaterThanOrEqual(2);
          }
          // What is written greedily is the likeliest.
          if (max_tokens === 1) expect(logprobs.token_logprobs[length]).toBe(Math.max(...Object.values(logprobs.top_logprobs[length] ?? {})));
        }
      }
    }
    const { body } = await complete({ prompt: "Tom saw a dog", max_tokens: 0, echo: true, logprobs: 1 });
    const { tokens, text_offset } = logprobsOf(firstChoice(body));
    expect(text_offset[0]).toBe(0);
    for (let t = 2; t < tokens.length; t++) expect("Tom saw a dog".startsWith(must(tokens[t], "token"), text_offset[t])).toBe(true);
  });

  test("asked side by side under several adapters are what each is alone", async () => {
    const asked = ["small", "tales", "twin", "scaled", "small", "twin", "tales", "scaled", "small", "tales", "twin", "small"].map((name, i) => ({ model: name, prompt: `${PROMPT} ${"She was happy. ".repeat(i % 4)}Tom`, max_tokens: 5 + ((i * 7) % 13) }));
    const together = await Promise.all(asked.map(complete));
    for (const [i, one] of asked.entries()) expect(together[i]?.body.choices).toEqual((await complete(one)).body.choices);
    for (const [i, { model: name, prompt, max_tokens }] of asked.slice(0, 4).entries()) {
      const alone = await generate({ model: MODEL, prompt, maxNewTokens: max_tokens, ...GREEDY, ...(name === "tales" ? {} : { adapter: must(folders[name], name) }) });
      expect(together[i]?.body.choices[0]?.text).toBe(alone.text);
    }
    expect(new Set(["small", "tales", "twin", "scaled"].map((name) => together[asked.findIndex((one) => one.model === name)]?.body.choices[0]?.text)).size).toBe(4);
  });

  test("streamed give the same text, tokens and log-probabilities, and their usage where it is asked for", async () => {
    const body = { model: "tales", prompt: PROMPT, temperature: 0, max_tokens: 12, logprobs: 1, echo: true, stop: ["outside"] };
    const whole = firstChoice((await complete(body)).body);
    const all = await events("/v1/completions", { ...body, stream: true, stream_options: { include_usage: true } });
    const pieces = all.flatMap(({ choices }) => choices);
    expect(pieces.map(({ text }) => text).join("")).toBe(whole.text);
    for (const key of ["tokens", "token_logprobs", "text_offset"] as const) expect(pieces.flatMap(({ logprobs }): readonly unknown[] => logprobs?.[key] ?? [])).toEqual(logprobsOf(whole)[key]);
    expect(pieces.at(-1)?.finish_reason).toBe("stop");
    expect(all.at(-1)).toMatchObject({ choices: [], usage: { prompt_tokens: 16 } });
    expect(pieces.length).toBeGreaterThan(5);
  });

  test("end before a stop string", async () => {
    const { body } = await complete({ max_tokens: 12, stop: ["ide", "zebra"] });
    expect(body.choices[0]).toMatchObject({ text: " She loved to play outs", finish_reason: "stop" });
  });

  test("are drawn by the seed: the same again with it, several that differ in one request, others without", async () => {
    const drawn = async (seed?: number): Promise<readonly string[]> => (await complete({ temperature: 1, n: 3, max_tokens: 12, ...(seed === undefined ? {} : { seed }) })).body.choices.map(({ text }) => text);
    const [first, again, other] = [await drawn(5), await drawn(5), await drawn(6)];
    expect(again).toEqual(first);
    expect(new Set([...first, ...other]).size).toBe(6);
    expect(await drawn()).not.toEqual(await drawn());
  });
});

test("of `best_of` drawn, the n likeliest are given", async () => {
  const drawn = { temperature: 1, seed: 5, max_tokens: 8, logprobs: 0 };
  const mean = (choice: Choice): number => logprobsOf(choice).token_logprobs.reduce((a, b) => a + b, 0) / logprobsOf(choice).token_logprobs.length;
  const all = (await complete({ ...drawn, n: 4 })).body.choices;
  const best = (await complete({ ...drawn, n: 2, best_of: 4 })).body.choices;
  expect(best.map(({ text }) => text)).toEqual([...all].sort((a, b) => mean(b) - mean(a)).slice(0, 2).map(({ text }) => text));
  expect(best.map(({ index }) => index)).toEqual([0, 1]);
  expect((await complete({ n: 3, best_of: 2 })).body.error.message).toContain("best_of: expected at least n, which is 3, got 2");
});

describe("chat completions", () => {
  const messages = [{ role: "system", content: "Tim was sad." }, { role: "user", content: [{ type: "text", text: "Lily" }, { type: "text", text: " ran." }] }];

  test("answer by the model's template as `fedtune chat` does, whole or streamed", async () => {
    await using chat = await openChat({ model: MODEL, system: "Tim was sad.", maxNewTokens: 10, ...GREEDY });
    const alone = await chat.send("Lily ran.", {});
    const body = { model: "tales", messages, temperature: 0, max_completion_tokens: 10, logprobs: true, top_logprobs: 2 };
    const whole = (await ask("/v1/chat/completions", body)).body;
    expect(whole).toMatchObject({ object: "chat.completion", choices: [{ index: 0, message: { role: "assistant", content: alone.text }, finish_reason: "length" }], usage: { prompt_tokens: alone.promptTokens, completion_tokens: 10 } });
    const { content = [] } = logprobsOf(firstChoice(whole));
    expect(content).toHaveLength(10);
    for (const { token, logprob, bytes, top_logprobs } of content) {
      expect(Buffer.from(bytes).toString()).toBe(token);
      expect(top_logprobs[0]).toMatchObject({ token, logprob });
      expect(top_logprobs[1]?.logprob).toBeLessThanOrEqual(logprob);
    }
    const streamed = await events("/v1/chat/completions", { ...body, stream: true });
    expect(streamed[0]?.choices[0]?.delta.role).toBe("assistant");
    expect(streamed.map((one) => firstChoice(one).delta.content ?? "").join("")).toBe(alone.text);
    expect(streamed.flatMap((one) => firstChoice(one).logprobs?.content ?? [])).toEqual(content);
    expect(streamed.at(-1)?.choices[0]?.finish_reason).toBe("length");
  });

  test("refuse messages that the template refuses", async () => {
    const { status, body } = await ask("/v1/chat/completions", { model: "tales", messages: [{ role: "tool", content: "x" }] });
    expect([status, body.error.type]).toEqual([400, "invalid_request_error"]);
    expect(body.error.message).toContain("no tools here");
  });
});

describe("what is wrong is said in OpenAI's form", () => {
  test.each([
    ["a model that there is not", "/v1/completions", { model: "smal", prompt: "a" }, 404, "model", "Did you mean `small`?"],
    ["a field of another type", "/v1/completions", { model: "tales", prompt: "a", temperature: "hot" }, 400, "temperature", 'expected a number from 0 to 100, got "hot"'],
    ["a misspelt field", "/v1/completions", { model: "tales", prompt: "a", max_token: 3 }, 400, "max_token", "Did you mean `max_tokens`?"],
    ["no prompt", "/v1/completions", { model: "tales" }, 400, "prompt", "expected a text"],
    ["an empty list of ids", "/v1/completions", { model: "tales", prompt: [[]] }, 400, "prompt.0", "expected at least one token id"],
    ["a token that there is not", "/v1/completions", { model: "tales", prompt: [1, 512] }, 400, "prompt", "expected token ids below 512, got 512"],
    ["a context that is too short", "/v1/completions", { model: "tales", prompt: "a", max_tokens: 600 }, 400, "prompt", "within the 512 tokens of tales's context"],
    ["too many answers", "/v1/completions", { model: "tales", prompt: "a", n: 65 }, 400, "n", "expected a whole number from 1 to 64, got 65"],
    ["too many prompts", "/v1/completions", { model: "tales", prompt: Array.from({ length: 200 }, () => "a"), n: 2 }, 400, "prompt", "expected at most 256 texts"],
    ["more than the queue holds", "/v1/completions", { model: "tales", prompt: Array.from({ length: 65 }, () => "a") }, 429, null, "expected at most 64 texts waiting"],
    ["a penalty", "/v1/completions", { model: "tales", prompt: "a", frequency_penalty: 0.5 }, 400, "frequency_penalty", "expected 0"],
    ["tools", "/v1/chat/completions", { model: "tales", messages: [{ role: "user", content: "a" }], tools: [{ type: "function" }] }, 400, "tools", "calls no tools"],
    ["a picture", "/v1/chat/completions", { model: "tales", messages: [{ role: "user", content: [{ type: "image_url" }] }] }, 400, "messages.0.content", "expected a text"],
    ["what is no JSON", "/v1/completions", "{", 400, null, "expected JSON"],
    ["a large body", "/v1/completions", { model: "tales", prompt: "a".repeat(20_000) }, 413, null, "expected at most 20000 bytes"],
    ["a path that there is not", "/v1/completion", {}, 404, null, "Did you mean `/v1/completions`?"],
    ["another method", "/v1/models", {}, 405, null, "expected GET, got POST"],
  ])("%s", async (...[, path, sent, status, param, message]) => {
    const reply = await ask(path, sent);
    expect(reply.body.error.message).toContain(message);
    expect([reply.status, reply.body.error.param]).toEqual([status, param]);
  });

  test("a body that does not say that it is JSON, as a form of another page would not", async () => {
    expect((await ask("/v1/completions", "{}", "text/plain")).status).toBe(415);
  });

  test("a context that is too short has OpenAI's code, also where a stream was asked for", async () => {
    const { status, body } = await complete({ max_tokens: 600, stream: true });
    expect([status, body.error.code]).toEqual([400, "context_length_exceeded"]);
  });
});

test("who goes away takes the text along, and the others go on", async () => {
  const outcomes: string[] = [];
  let pieces = 0;
  const watched: ServedModel = {
    ...model, names: model.names, vocabSize: model.vocabSize,
    find: (name) => model.find(name), contextTokens: (name) => model.contextTokens(name), encode: (text) => model.encode(text), decode: (ids) => model.decode(ids),
    encodeChat: (messages) => model.encodeChat(messages), requireRoom: (name, texts) => model.requireRoom(name, texts),
    write: async (request, listener) => {
      const written = model.write(request, { ...listener, onPiece: (text, tokens) => {
        pieces++;
        listener.onPiece?.(text, tokens);
      } });
      await written.then(({ endedBy }) => outcomes.push(endedBy), (error: unknown) => outcomes.push(error instanceof Error ? error.message : "?"));
      return await written;
    },
  };
  await using other = await startServer({ ...serverOptions(), model: watched });
  const gone = new AbortController();
  const send = (body: unknown, init: RequestInit = {}): Promise<Response> => fetch(`${other.url}/v1/completions`, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body), ...init });
  const long = await send({ model: "tales", prompt: "Tom", max_tokens: 480, stream: true, seed: 2 }, { signal: gone.signal });
  const reader = must(long.body, "body").getReader();
  await reader.read();
  const beside = send({ model: "tales", prompt: "Lily", max_tokens: 20, temperature: 0 });
  gone.abort();
  await expect(reader.read()).rejects.toThrow();
  expect((await beside).status).toBe(200);
  expect(outcomes[0]).toContain("got a request to stop");
  expect(pieces).toBeLessThan(300);
});

describe("who may ask", () => {
  test("with a key only who has it", async () => {
    await using guarded = await startServer({ ...serverOptions(), apiKey: "sesame" });
    const status = async (authorization?: string): Promise<number> => (await fetch(`${guarded.url}/v1/models`, { headers: authorization === undefined ? {} : { authorization } })).status;
    expect([await status(), await status("Bearer sesam"), await status("Basic sesame"), await status("Bearer sesame")]).toEqual([401, 401, 401, 200]);
  });

  test("without one no page that calls this machine by its own name", async () => {
    const { port } = new URL(server.url);
    const status = await new Promise((resolve) => httpRequest({ port, host: "127.0.0.1", path: "/v1/models", headers: { host: "evil.example" } }, (response) => resolve(response.resume().statusCode)).end());
    expect(status).toBe(403);
  });

  test("an open address needs a key, and a port that is taken is named", async () => {
    expect(() => requireKey("0.0.0.0", undefined)).toThrow("Give --api-key or set FEDTUNE_API_KEY");
    expect(() => requireKey("0.0.0.0", "k")).not.toThrow();
    expect(() => requireKey("::1", undefined)).not.toThrow();
    const { port } = new URL(server.url);
    await expect(startServer({ ...serverOptions(), port: Number(port) })).rejects.toThrow("got EADDRINUSE. Choose another by --port");
  });
});

test("a server that stops lets an answer in the making end, and refuses no one without a word", async () => {
  const other = await startServer(serverOptions());
  const answer = await fetch(`${other.url}/v1/completions`, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ model: "tales", prompt: "Tom", max_tokens: 30, temperature: 0, stream: true }) });
  await Promise.all([other[Symbol.asyncDispose](), answer.text().then((text) => expect(text).toContain("[DONE]"))]);
  await expect(fetch(`${other.url}/health`)).rejects.toThrow();
});

test("one that has no patience cuts it off with a last event", async () => {
  const other = await startServer({ ...serverOptions(), graceMs: 0 });
  const answer = await fetch(`${other.url}/v1/completions`, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ model: "tales", prompt: "Tom", max_tokens: 480, seed: 2, stream: true }) });
  const [, text] = await Promise.all([other[Symbol.asyncDispose](), answer.text()]);
  expect(text).toContain('"code":"stopping"');
});
