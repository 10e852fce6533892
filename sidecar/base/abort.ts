/** Waiting that can be given up. */
import type { Clock } from './clock.ts';
import { AppError } from './errors.ts';

/**
 * The promise's outcome, or the signal's reason if it aborts first. The promise is not cancelled: pass the signal
 * to whatever makes it as well. Its listener is removed either way, so long-lived signals do not collect any.
 */
export async function orAbort<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  if (signal.aborted) {
    // Nobody waits for it any more: its failure must not end the process.
    promise.catch(() => undefined);
    signal.throwIfAborted();
  }
  const aborted = Promise.withResolvers<never>();
  const onAbort = (): void => aborted.reject(signal.reason as Error);
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    return await Promise.race([promise, aborted.promise]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}

/** Runs `work` with a signal that aborts after `ms`; then fails with code `deadline` naming `what`. */
export async function withDeadline<T>(
  clock: Clock,
  limit: { readonly ms: number; readonly what: string; readonly signal?: AbortSignal },
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const done = new AbortController();
  const expired = new AbortController();
  const timer = clock.sleep(limit.ms, done.signal).then(
    () => expired.abort(new AppError('deadline', `${limit.what} took longer than ${limit.ms} ms`)),
    () => undefined,
  );
  const signal = limit.signal ? AbortSignal.any([limit.signal, expired.signal]) : expired.signal;
  try {
    return await orAbort(work(signal), signal);
  } finally {
    done.abort();
    await timer;
  }
}
