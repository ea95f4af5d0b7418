/**
 * `node tools/make-demo-data.ts INPUT.txt`: makes assets/shakespeare/, one JSONL file per character, from the text of
 * Shakespeare's plays as published with char-rnn (blocks "NAME:\nlines", separated by empty lines).
 */
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

/** How many characters become clients: those with the most lines in verse or prose. */
const CHARACTERS = 8;
/** Longest row, in characters of text: under 256 tokens of the demo's model. A longer speech becomes several rows, cut between lines. */
const MAX_ROW_CHARACTERS = 400;
/** Rows kept per character: every client of the demo has enough, none dominates. */
const MAX_ROWS = 200;

const folder = fileURLToPath(new URL("../assets/shakespeare/", import.meta.url));
const input = process.argv[2];
if (input === undefined) {
  console.error("make-demo-data: expected the path of the plays' text, got no argument. Run node tools/make-demo-data.ts ../shared/data/tinyshakespeare/input.txt.");
  process.exit(2);
}

const speeches = readSpeeches(readFileSync(input, "utf8"));
const chosen = [...speeches].sort(([, a], [, b]) => countLines(b) - countLines(a)).slice(0, CHARACTERS);
mkdirSync(folder, { recursive: true });
for (const file of readdirSync(folder)) if (file.endsWith(".jsonl")) rmSync(join(folder, file));
for (const [character, texts] of chosen) {
  const rows = texts.flatMap(cutSpeech).slice(0, MAX_ROWS);
  writeFileSync(fileOf(character), rows.map((text) => `${JSON.stringify({ character, text })}\n`).join(""));
  console.log(`${character}: ${texts.length} speeches, ${countLines(texts)} lines, ${rows.length} rows kept`);
}

function fileOf(character: string): string {
  return join(folder, `${character.toLowerCase().replaceAll(" ", "-")}.jsonl`);
}

/** Speeches by who speaks, in the order of the plays. */
function readSpeeches(text: string): Map<string, string[]> {
  const found = new Map<string, string[]>();
  for (const block of text.split(/\n{2,}/)) {
    const [heading = "", ...lines] = block.trim().split("\n");
    if (!heading.endsWith(":") || lines.length === 0) continue;
    const name = heading.slice(0, -1);
    found.set(name, [...(found.get(name) ?? []), lines.join("\n")]);
  }
  return found;
}

function countLines(texts: readonly string[]): number {
  return texts.reduce((sum, text) => sum + text.split("\n").length, 0);
}

/** A speech as rows of at most MAX_ROW_CHARACTERS, cut between lines. */
function cutSpeech(speech: string): string[] {
  const rows: string[] = [];
  for (const line of speech.split("\n")) {
    const last = rows.at(-1);
    if (last === undefined || last.length + 1 + line.length > MAX_ROW_CHARACTERS) rows.push(line);
    else rows[rows.length - 1] = `${last}\n${line}`;
  }
  return rows;
}
