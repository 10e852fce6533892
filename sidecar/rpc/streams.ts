/** Async iterables over the streams of grpc-js, with back-pressure and abort. */
import { once } from 'node:events';
import type { Readable, Writable } from 'node:stream';
import { orAbort } from '../base/abort.ts';

/**
 * Writes what `source` yields, one at a time, and asks it for more only when the stream has room.
 * Fails with the signal's reason when that aborts; `source` is told to finish in any case, but not waited for.
 */
export async function pump<T>(
  source: AsyncIterable<T>,
  sink: { readonly stream: Writable; readonly encode: (value: T) => Buffer },
  signal: AbortSignal,
): Promise<void> {
  const iterator = source[Symbol.asyncIterator]();
  try {
    for (;;) {
      const next = await orAbort(iterator.next(), signal);
      if (next.done === true) return;
      if (!sink.stream.write(sink.encode(next.value))) await drained(sink.stream, signal);
    }
  } finally {
    // A generator that is stuck in a wait without the signal would never return: it must not hold up the call's end.
    iterator.return?.().then(undefined, () => undefined);
  }
}

async function drained(stream: Writable, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted();
  try {
    await once(stream, 'drain', { signal });
  } catch (reason) {
    throw signal.aborted ? signal.reason : reason;
  }
}

/** Reads a stream of bytes; fails with the signal's reason once that aborts. Leaving early does not destroy the stream. */
export async function* messagesOf<T>(
  stream: Readable,
  decode: (bytes: Buffer) => T,
  signal: AbortSignal,
): AsyncGenerator<T, void, undefined> {
  const iterator = stream.iterator({ destroyOnReturn: false });
  for (;;) {
    let next: IteratorResult<Buffer, unknown>;
    try {
      next = await orAbort(iterator.next(), signal);
    } catch (reason) {
      throw signal.aborted ? signal.reason : reason;
    }
    if (next.done === true) return;
    yield decode(next.value);
  }
}
