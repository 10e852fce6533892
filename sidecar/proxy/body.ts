/** Reading a request body whole, within bounds. */
import type { IncomingMessage } from 'node:http';

export type ReadBody =
  | { readonly kind: 'read'; readonly body: Buffer }
  | { readonly kind: 'tooLarge' }
  /** The budget has no room for it at the moment. */
  | { readonly kind: 'noRoom' };

/** A body above its bounds is read on and thrown away up to this multiple: a client that still sends hears no answer. */
const DISCARD_FACTOR = 8;

/** Bounds what all bodies together keep in memory. */
export class BodyBudget {
  readonly #limitBytes: number;
  #takenBytes = 0;

  constructor(limitBytes: number) {
    this.#limitBytes = limitBytes;
  }

  /** The share of one body; what it took is free again once it is released. */
  share(): BodyShare {
    let ownBytes = 0;
    let isReleased = false;
    return {
      take: (bytes) => {
        if (isReleased || this.#takenBytes + bytes > this.#limitBytes) return false;
        this.#takenBytes += bytes;
        ownBytes += bytes;
        return true;
      },
      release: () => {
        isReleased = true;
        this.#takenBytes -= ownBytes;
        ownBytes = 0;
      },
    };
  }
}

export interface BodyShare {
  /** False: there is no room for that many more bytes; nothing was taken. */
  take(bytes: number): boolean;
  /** Gives all back, for good. */
  release(): void;
}

/**
 * The whole body, or what it exceeds (`limitBytes` or its share of a budget) once it has been skipped. Fails with the
 * connection's error when the client goes away before the end, or sends far more than the limit.
 */
export async function readBody(request: IncomingMessage, limitBytes: number, share: BodyShare): Promise<ReadBody> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  let refused: 'tooLarge' | 'noRoom' | null = null;
  const { promise, resolve, reject } = Promise.withResolvers<ReadBody>();
  let ended = false;
  request.on('data', (chunk: Buffer) => {
    bytes += chunk.length;
    if (bytes > limitBytes) refused = 'tooLarge';
    else if (refused === null && !share.take(chunk.length)) refused = 'noRoom';
    if (refused === null) return void chunks.push(chunk);
    chunks.length = 0;
    share.release();
    if (bytes > limitBytes * DISCARD_FACTOR) request.destroy(new Error('the request body does not end'));
  });
  request.on('end', () => {
    ended = true;
    if (refused !== null) resolve({ kind: refused });
    else resolve({ kind: 'read', body: chunks.length === 1 && chunks[0] ? chunks[0] : Buffer.concat(chunks, bytes) });
  });
  request.on('error', reject);
  request.on('close', () => {
    if (!ended) reject(new Error('the client went away'));
  });
  return promise;
}
