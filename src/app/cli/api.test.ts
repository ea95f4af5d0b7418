/** `fedtune api` as a real process. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { expect, test } from "vitest";
import { temporaryFolder } from "../../../test/support/tiny-training.ts";
import { packagePath } from "./package-root.ts";

const folder = temporaryFolder();

test("one JSON line says where it is reached; Ctrl-C ends it with exit code 130, and nothing that was asked is in its output", async () => {
  const child = spawn(packagePath("node_modules/.bin/node"), [packagePath("bin/fedtune.mjs"), "api", packagePath("assets/stories260k"), "--port", "0", "--json"], { cwd: folder, stdio: ["ignore", "pipe", "pipe"], env: { ...process.env, FEDTUNE_API_KEY: "sesame" } });
  const written: string[] = [];
  child.stderr.on("data", (chunk: Buffer) => written.push(chunk.toString()));
  const lines = createInterface({ input: child.stdout });
  const first = once(lines, "line");
  lines.on("line", (line) => written.push(line));
  await first;
  const ready = JSON.parse(written.join("")) as { readonly url: string };
  expect(ready).toMatchObject({ type: "serving", models: ["stories260k"], url: expect.stringMatching(/^http:\/\/127\.0\.0\.1:\d+$/) });
  const response = await fetch(`${ready.url}/v1/completions`, { method: "POST", headers: { "content-type": "application/json", authorization: "Bearer sesame" }, body: JSON.stringify({ model: "stories260k", prompt: "Zebra Xylophone", max_tokens: 3 }) });
  expect(await response.json()).toMatchObject({ usage: { completion_tokens: 3 } });
  child.kill("SIGINT");
  expect(await once(child, "close")).toEqual([130, null]);
  expect(written.slice(1).map((line) => JSON.parse(line) as unknown)).toMatchObject([{ type: "error", code: "interrupted", exitCode: 130 }]);
  expect(written.join("")).not.toContain("Zebra");
});
