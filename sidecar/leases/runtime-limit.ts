/** No call runs longer than its quota's `maxRuntime`. */
import type { Clock } from '../base/clock.ts';
import { AppError } from '../base/errors.ts';
import type { Log } from '../base/log.ts';

export interface Limited {
  readonly id: string;
  /** Monotonic. */
  readonly runsUntilMs: number;
  abort(reason: AppError): void;
}

/** A lowered limit is noticed this soon for calls admitted while a later end was awaited. */
const LONGEST_SLEEP_MS = 10_000;

/**
 * Aborts each of `running` at its time; ends when the signal aborts. One timer for all: a timer a call would cost
 * more than the rest of its bookkeeping. `started` resolves once something runs.
 */
export async function cutOverdue(
  running: ReadonlyMap<string, Limited>,
  options: { readonly started: () => Promise<void>; readonly clock: Clock; readonly log: Log },
  signal: AbortSignal,
): Promise<void> {
  const { clock, log } = options;
  while (!signal.aborted) {
    await options.started();
    const nowMs = clock.monotonicMs();
    let nextMs = nowMs + LONGEST_SLEEP_MS;
    for (const call of running.values()) {
      if (call.runsUntilMs > nowMs) {
        nextMs = Math.min(nextMs, call.runsUntilMs);
      } else {
        log.warn('lease.cut', { id: call.id });
        call.abort(new AppError('deadline', 'the call ran longer than its quota allows (maxRuntime)'));
      }
    }
    await clock.sleep(Math.max(1, nextMs - nowMs), signal).catch(() => undefined);
  }
}
