/**
 * Reads a copy of the response while it passes. A content encoding is undone for the copy only; where it cannot be
 * undone, the call is settled by an estimate.
 */
import type { Transform } from 'node:stream';
import { createBrotliDecompress, createInflate, createUnzip, createZstdDecompress } from 'node:zlib';
import { createResponseReader, type ResponseFacts } from '../glm/response.ts';
import type { Surface } from '../glm/terms.ts';
import { headerOf } from './headers.ts';

export interface Tap {
  push(chunk: Buffer): void;
  /** Whether a stream's last frame has passed. */
  sawLastFrame(): boolean;
  /** What the whole response told; asynchronous only where it was encoded. */
  finish(): ResponseFacts | Promise<ResponseFacts>;
  /** What is known so far of a response that was cut. */
  cut(): ResponseFacts;
}

const DECODERS: Readonly<Record<string, () => Transform>> = {
  gzip: () => createUnzip(),
  'x-gzip': () => createUnzip(),
  deflate: () => createInflate(),
  br: () => createBrotliDecompress(),
  zstd: () => createZstdDecompress(),
};

/** More than this of decoded text is not read: a small body can be made to decode into any amount. */
const MAX_DECODED_BYTES = 256 * 1024 * 1024;

/** `headers` are the raw ones of the response. */
export function createTap(headers: readonly string[], surface: Surface): Tap {
  const reader = createResponseReader({ surface, contentType: headerOf(headers, 'content-type') });
  const encoding = headerOf(headers, 'content-encoding')?.trim().toLowerCase() ?? 'identity';
  if (encoding === 'identity' || encoding === '') {
    const sawLastFrame = (): boolean => reader.sawLastFrame;
    return { push: (chunk) => reader.push(chunk), sawLastFrame, finish: () => reader.end(), cut: () => reader.end() };
  }
  const decoder = DECODERS[encoding]?.();
  if (decoder === undefined) {
    return { push: () => undefined, sawLastFrame: () => false, finish: () => reader.end(), cut: () => reader.end() };
  }
  let decodedBytes = 0;
  const { promise: drained, resolve } = Promise.withResolvers<void>();
  decoder.on('data', (chunk: Buffer) => {
    decodedBytes += chunk.length;
    if (decodedBytes <= MAX_DECODED_BYTES) reader.push(chunk);
    else decoder.destroy();
  });
  // A broken encoding is the client's to complain about; what was decoded until then counts.
  decoder.on('error', () => resolve());
  decoder.on('close', () => resolve());
  decoder.on('end', () => resolve());
  const stop = (): ResponseFacts => {
    decoder.destroy();
    return reader.end();
  };
  return {
    push: (chunk) => void (decoder.destroyed || decoder.write(chunk)),
    sawLastFrame: () => reader.sawLastFrame,
    finish: () => {
      decoder.end();
      return drained.then(stop);
    },
    cut: stop,
  };
}
