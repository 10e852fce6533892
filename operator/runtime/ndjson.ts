/** Lines of JSON out of a byte stream that is cut anywhere. */
import type { Readable } from 'node:stream';
import { AppError } from '../../sidecar/base/errors.ts';

/** A single object is at most 1.5 MB in etcd and about twice that as JSON; more is a broken stream. */
const LONGEST_LINE = 16 * 1024 * 1024;
const NEWLINE = 10;

/**
 * Cuts chunks into lines. Bytes are joined before they are decoded, so a character split between two chunks arrives
 * whole, and each byte is looked at once, so a long line in small chunks costs no quadratic time.
 */
export class LineCutter {
  #parts: Uint8Array[] = [];
  #length = 0;

  /** The lines this chunk completed, without their ends, empty ones left out. Fails with `tooLarge`. */
  push(chunk: Uint8Array): string[] {
    const lines: string[] = [];
    let from = 0;
    for (let end = chunk.indexOf(NEWLINE); end >= 0; end = chunk.indexOf(NEWLINE, from)) {
      this.#parts.push(chunk.subarray(from, end));
      const line = Buffer.concat(this.#parts).toString('utf8').trim();
      if (line !== '') lines.push(line);
      this.#parts = [];
      this.#length = 0;
      from = end + 1;
    }
    if (from < chunk.length) {
      this.#parts.push(chunk.subarray(from));
      this.#length += chunk.length - from;
    }
    if (this.#length > LONGEST_LINE)
      throw new AppError('tooLarge', `a line of the watch is longer than ${LONGEST_LINE}`);
    return lines;
  }
}

/**
 * The values of the stream's complete lines; what follows the last line end is dropped, as nobody knows whether it is
 * whole. Fails with `unavailable` when the stream breaks or holds a line that is no JSON.
 */
export async function* readLines(stream: Readable, signal: AbortSignal): AsyncIterable<unknown> {
  const cutter = new LineCutter();
  try {
    for await (const chunk of stream) {
      for (const line of cutter.push(chunk as Uint8Array)) yield JSON.parse(line) as unknown;
    }
  } catch (reason) {
    signal.throwIfAborted();
    if (reason instanceof AppError) throw reason;
    const message = reason instanceof Error ? reason.message : String(reason);
    throw new AppError('unavailable', `the stream broke: ${message}`, { cause: reason });
  }
}
