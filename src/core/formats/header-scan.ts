/**
 * One pass over the bytes of a safetensors header before JSON.parse sees them: finds what JSON.parse hides (names given twice)
 * and what would cost it minutes or its stack (deep nesting). Whether the text is valid JSON is left to JSON.parse.
 */

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COMMA = 0x2c;

export interface HeaderScan {
  /** Deepest nesting of brackets; 0 for a plain value. */
  readonly depth: number;
  /** Byte ranges of the keys of the outermost object, quotes included, in order, duplicates included. */
  readonly keys: readonly (readonly [start: number, end: number])[];
}

/** Scans JSON bytes, up to the place where the nesting exceeds `maxDepth`. Time and memory are linear in the bytes. */
export function scanHeader(json: Uint8Array, maxDepth: number): HeaderScan {
  const keys: [number, number][] = [];
  let depth = 0;
  let deepest = 0;
  // A string right after the first bracket, or after a comma at depth 1, is a key.
  let keyIsDue = false;
  for (let i = 0; i < json.byteLength && deepest <= maxDepth; i++) {
    const byte = json[i];
    if (byte === QUOTE) {
      const start = i;
      for (i++; i < json.byteLength && json[i] !== QUOTE; i++) if (json[i] === BACKSLASH) i++;
      if (depth === 1 && keyIsDue) keys.push([start, Math.min(i + 1, json.byteLength)]);
      keyIsDue = false;
    } else if (byte === 0x7b || byte === 0x5b) {
      depth++;
      deepest = Math.max(deepest, depth);
      keyIsDue = byte === 0x7b;
    } else if (byte === 0x7d || byte === 0x5d) {
      depth--;
    } else if (byte === COMMA) {
      keyIsDue = true;
    }
  }
  return { depth: deepest, keys };
}
