/** A server on this machine for tests of downloads: it serves bytes as the Hub and GitHub do, and misbehaves as a test wants. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";

/** How one answer is spoilt. */
export interface Spoilt {
  readonly status?: number;
  readonly content?: Uint8Array;
  /** Ends the connection after so many bytes of the answer. */
  readonly breakAfter?: number;
  /** Says nothing of how long the answer is. */
  readonly unstated?: boolean;
  /** Takes no ranges. */
  readonly whole?: boolean;
}

export class LocalServer {
  /** Method and path of each request, with its range where it has one. */
  readonly requests: string[] = [];
  readonly tokens: (string | undefined)[] = [];
  /** Content by path. */
  files: Record<string, Uint8Array> = {};
  /** Answers in JSON by path, such as the Hub's API. */
  json: Record<string, unknown> = {};
  /** Asked at each request; the count starts from 0 for each path. */
  spoil: (path: string, count: number) => Spoilt | undefined = () => undefined;
  tag = '"one"';
  url = "";
  readonly #counts = new Map<string, number>();
  readonly #server: Server = createServer((request, response) => this.#answer(request, response));

  #answer(request: IncomingMessage, response: ServerResponse): void {
    const path = decodeURIComponent(new URL(request.url ?? "/", "http://local").pathname);
    const range = request.headers.range;
    this.requests.push(range === undefined ? path : `${path} ${range}`);
    this.tokens.push(request.headers.authorization);
    const count = this.#counts.get(path) ?? 0;
    this.#counts.set(path, count + 1);
    const spoilt = this.spoil(path, count) ?? {};
    const answer = (status: number, value: unknown): void => void response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(value));
    if (spoilt.status !== undefined) return answer(spoilt.status, { error: "as the test wants it" });
    if (Object.hasOwn(this.json, path)) return answer(200, this.json[path]);
    const content = spoilt.content ?? this.files[path];
    if (content === undefined) return answer(404, { error: "Not found" });
    const first = Number(/^bytes=(\d+)-$/.exec(range ?? "")?.[1] ?? 0);
    if (first >= content.byteLength && first > 0) return answer(416, { error: "beyond the end" });
    const changed = request.headers["if-range"] !== undefined && request.headers["if-range"] !== this.tag;
    const from = spoilt.whole === true || changed ? 0 : first;
    const rest = content.subarray(from);
    response.writeHead(from > 0 ? 206 : 200, {
      etag: this.tag,
      ...(from > 0 && { "content-range": `bytes ${from}-${content.byteLength - 1}/${content.byteLength}` }),
      ...(spoilt.unstated !== true && { "content-length": rest.byteLength }),
    });
    if (spoilt.breakAfter === undefined) response.end(rest);
    else response.write(rest.subarray(0, spoilt.breakAfter), () => response.destroy());
  }

  /** Starts to listen on the loopback address and returns the address. */
  async listen(): Promise<string> {
    await new Promise<void>((done) => this.#server.listen(0, "127.0.0.1", done));
    const address = this.#server.address();
    this.url = `http://127.0.0.1:${typeof address === "object" && address !== null ? address.port : 0}`;
    return this.url;
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((done) => this.#server.close(done));
  }
}
