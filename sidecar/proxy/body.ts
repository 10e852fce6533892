/** Reading a request body whole, within a bound. */
import type { IncomingMessage } from 'node:http';

export type ReadBody = { readonly kind: 'read'; readonly body: Buffer } | { readonly kind: 'tooLarge' };

/** A body above the limit is read on and thrown away up to this multiple: a client that still sends hears no answer. */
const DISCARD_FACTOR = 8;

/**
 * The whole body, or `tooLarge` once it has been skipped. Fails with the connection's error when the client goes away
 * before the end, or sends far more than the limit.
 */
export async function readBody(request: IncomingMessage, limitBytes: number): Promise<ReadBody> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  const { promise, resolve, reject } = Promise.withResolvers<ReadBody>();
  let ended = false;
  request.on('data', (chunk: Buffer) => {
    bytes += chunk.length;
    if (bytes <= limitBytes) chunks.push(chunk);
    else if (bytes <= limitBytes * DISCARD_FACTOR) chunks.length = 0;
    else request.destroy(new Error('the request body does not end'));
  });
  request.on('end', () => {
    ended = true;
    if (bytes > limitBytes) resolve({ kind: 'tooLarge' });
    else resolve({ kind: 'read', body: chunks.length === 1 && chunks[0] ? chunks[0] : Buffer.concat(chunks, bytes) });
  });
  request.on('error', reject);
  request.on('close', () => {
    if (!ended) reject(new Error('the client went away'));
  });
  return promise;
}
