/**
 * A reader of single fields of large JSON objects. Agents send whole conversations with every call; parsing megabytes
 * for three fields would block the proxy's event loop for milliseconds, so strings and nested values are skipped over.
 */

export interface RawMember {
  readonly key: string;
  /** The parsed scalar; undefined for objects and arrays. */
  readonly value: unknown;
}

export type Scan =
  | { readonly kind: 'object'; readonly members: readonly RawMember[] }
  | { readonly kind: 'broken'; readonly message: string };

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COLON = 0x3a;
const COMMA = 0x2c;
const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;
const OPEN_ARRAY = 0x5b;
const CLOSE_ARRAY = 0x5d;
const LONGEST_KEY_BYTES = 256;
const LONGEST_SCALAR_BYTES = 4096;

class Broken extends Error {}

/**
 * The top-level members named in `wanted`, in order, duplicates included. Every valid JSON object is read as JSON.parse
 * reads it; of invalid ones those that do not end where they should are found, other faults only near what is read.
 */
export function scanObject(bytes: Uint8Array, wanted: ReadonlySet<string>): Scan {
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  try {
    return { kind: 'object', members: membersOf(text, wanted) };
  } catch (reason) {
    if (reason instanceof Broken) return { kind: 'broken', message: reason.message };
    throw reason;
  }
}

function membersOf(text: Buffer, wanted: ReadonlySet<string>): RawMember[] {
  const members: RawMember[] = [];
  let at = skipSpace(text, 0);
  expect(text, at, OPEN_OBJECT, 'an object');
  at = skipSpace(text, at + 1);
  if (text[at] === CLOSE_OBJECT) return atEnd(text, at, members);
  for (;;) {
    expect(text, at, QUOTE, 'a field name');
    const keyEnd = stringEnd(text, at);
    const key = keyEnd - at <= LONGEST_KEY_BYTES ? parse(text, at, keyEnd) : '';
    at = skipSpace(text, keyEnd);
    expect(text, at, COLON, 'a colon');
    at = skipSpace(text, at + 1);
    const end = valueEnd(text, at);
    if (typeof key === 'string' && wanted.has(key)) members.push({ key, value: scalar(text, at, end) });
    at = skipSpace(text, end);
    if (text[at] === CLOSE_OBJECT) return atEnd(text, at, members);
    expect(text, at, COMMA, 'a comma or the end of the object');
    at = skipSpace(text, at + 1);
  }
}

function atEnd(text: Buffer, at: number, members: RawMember[]): RawMember[] {
  const end = skipSpace(text, at + 1);
  if (end < text.length) throw new Broken(`unexpected text after the object at byte ${end}`);
  return members;
}

function expect(text: Buffer, at: number, byte: number, what: string): void {
  if (text[at] === byte) return;
  throw new Broken(at >= text.length ? 'it ends too early' : `${what} was expected at byte ${at}`);
}

function skipSpace(text: Buffer, from: number): number {
  let at = from;
  while (at < text.length) {
    const byte = text[at];
    if (byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09) break;
    at++;
  }
  return at;
}

/** Index behind the closing quote of the string whose opening quote is at `from`. */
function stringEnd(text: Buffer, from: number): number {
  let at = from + 1;
  // Byte by byte: with a quote every few words, as in code, native searches cost more than they skip.
  while (at < text.length) {
    const byte = text[at];
    if (byte === QUOTE) return at + 1;
    at += byte === BACKSLASH ? 2 : 1;
  }
  throw new Broken('a string does not end');
}

/** Index behind the value that begins at `from`. */
function valueEnd(text: Buffer, from: number): number {
  const first = text[from];
  if (first === QUOTE) return stringEnd(text, from);
  if (first === OPEN_OBJECT || first === OPEN_ARRAY) return nestedEnd(text, from);
  let at = from;
  while (at < text.length && !endsScalar(text[at])) at++;
  if (at === from) throw new Broken(at >= text.length ? 'it ends too early' : `a value was expected at byte ${at}`);
  return at;
}

function endsScalar(byte: number | undefined): boolean {
  return byte === COMMA || byte === CLOSE_OBJECT || byte === CLOSE_ARRAY || byte === undefined || byte <= 0x20;
}

function nestedEnd(text: Buffer, from: number): number {
  let depth = 0;
  let at = from;
  while (at < text.length) {
    const byte = text[at];
    if (byte === QUOTE) {
      at = stringEnd(text, at);
      continue;
    }
    if (byte === OPEN_OBJECT || byte === OPEN_ARRAY) depth++;
    else if (byte === CLOSE_OBJECT || byte === CLOSE_ARRAY) depth--;
    at++;
    if (depth === 0) return at;
  }
  throw new Broken('it ends too early');
}

/** The value of a scalar; undefined for nested values and for strings no field of ours could hold. */
function scalar(text: Buffer, from: number, end: number): unknown {
  const first = text[from];
  if (first === OPEN_OBJECT || first === OPEN_ARRAY || end - from > LONGEST_SCALAR_BYTES) return undefined;
  return parse(text, from, end);
}

function parse(text: Buffer, from: number, end: number): unknown {
  try {
    return JSON.parse(text.toString('utf8', from, end)) as unknown;
  } catch {
    throw new Broken(`a value is malformed at byte ${from}`);
  }
}
