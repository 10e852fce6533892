/** Server-sent events from chunks that may be cut anywhere. */

export interface SseFrame {
  /** The `event:` field; empty when there was none. */
  readonly event: string;
  /** The `data:` lines, joined by line feeds. */
  readonly data: Buffer;
}

const LF = 0x0a;
const CR = 0x0d;
const COLON = 0x3a;
const SPACE = 0x20;
const DATA = Buffer.from('data');
const EVENT = Buffer.from('event');

/** One frame may retain this much; a longer one is dropped whole and counted. */
const MAX_FRAME_BYTES = 8 * 1024 * 1024;

/**
 * Splits a stream into frames, whatever the chunk borders: lines end in LF, CR or CRLF, comments and unknown fields are
 * skipped, a frame without data is none. Keeps at most `maxFrameBytes`.
 */
export class SseSplitter {
  readonly #onFrame: (frame: SseFrame) => void;
  readonly #maxFrameBytes: number;
  #line: Buffer[] = [];
  #data: Buffer[] = [];
  #event = '';
  #keptBytes = 0;
  #lineStarted = false;
  #afterCr = false;
  #dropping = false;
  #dropped = 0;

  constructor(onFrame: (frame: SseFrame) => void, maxFrameBytes: number = MAX_FRAME_BYTES) {
    this.#onFrame = onFrame;
    this.#maxFrameBytes = maxFrameBytes;
  }

  /** Frames that were longer than the bound, so far. */
  get dropped(): number {
    return this.#dropped;
  }

  push(bytes: Uint8Array): void {
    const chunk = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    let start = 0;
    for (let at = 0; at < chunk.length; at++) {
      const byte = chunk[at];
      if (byte !== LF && byte !== CR) {
        this.#afterCr = false;
        continue;
      }
      const secondHalf = byte === LF && this.#afterCr;
      this.#afterCr = byte === CR;
      if (!secondHalf) this.#endLine(chunk.subarray(start, at));
      start = at + 1;
    }
    if (start < chunk.length) this.#keepRest(chunk.subarray(start));
  }

  /** Takes the stream as over: what a missing last blank line held back is delivered too. */
  end(): void {
    if (this.#lineStarted) this.#endLine(Buffer.alloc(0));
    this.#endFrame();
  }

  #keepRest(rest: Buffer): void {
    this.#lineStarted = true;
    // A copy: a view would pin the whole chunk, and its owner may use the memory again.
    if (this.#mayKeep(rest.length)) this.#line.push(Buffer.from(rest));
  }

  #endLine(tail: Buffer): void {
    const empty = !this.#lineStarted && tail.length === 0;
    const cut = this.#line.length > 0;
    const line = cut ? Buffer.concat([...this.#line, tail]) : tail;
    this.#line = [];
    this.#lineStarted = false;
    if (empty) this.#endFrame();
    else if (!this.#dropping) this.#takeField(line);
  }

  #takeField(line: Buffer): void {
    const colon = line.indexOf(COLON);
    const name = colon < 0 ? line : line.subarray(0, colon);
    const from = colon < 0 ? line.length : colon + (line[colon + 1] === SPACE ? 2 : 1);
    const value = line.subarray(from);
    if (name.equals(EVENT)) this.#event = value.toString('utf8', 0, 128);
    else if (name.equals(DATA) && this.#mayKeep(value.length)) this.#data.push(Buffer.from(value));
  }

  /** Counts what the frame holds back; over the bound the frame is given up. */
  #mayKeep(bytes: number): boolean {
    if (this.#dropping) return false;
    this.#keptBytes += bytes;
    if (this.#keptBytes <= this.#maxFrameBytes) return true;
    this.#dropping = true;
    this.#line = [];
    this.#data = [];
    return false;
  }

  #endFrame(): void {
    const lines = this.#data;
    const event = this.#event;
    if (this.#dropping) this.#dropped++;
    this.#data = [];
    this.#event = '';
    this.#keptBytes = 0;
    this.#dropping = false;
    const [first] = lines;
    if (first) this.#onFrame({ event, data: lines.length === 1 ? first : joinLines(lines) });
  }
}

function joinLines(lines: readonly Buffer[]): Buffer {
  const feed = Buffer.from([LF]);
  return Buffer.concat(lines.flatMap((line, index) => (index === 0 ? [line] : [feed, line])));
}
