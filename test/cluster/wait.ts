/** Waiting for conditions of other programs. */
import { setTimeout as delay } from 'node:timers/promises';
import type { Daemon } from './daemon.ts';

export interface WaitOptions {
  /** Default 120 s: generous, for a busy machine. */
  readonly deadlineMs?: number;
  readonly intervalMs?: number;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Asks until `probe` gives something else than undefined or false, and returns that. An error of the probe counts as
 * "not yet"; the last one is the cause when the deadline passes.
 */
export async function waitFor<T>(
  what: string,
  probe: () => Promise<T | undefined | false> | T | undefined | false,
  options: WaitOptions = {},
): Promise<T> {
  const deadlineMs = options.deadlineMs ?? 120_000;
  const deadline = performance.now() + deadlineMs;
  let last: unknown;
  while (performance.now() < deadline) {
    options.signal?.throwIfAborted();
    try {
      const found = await probe();
      if (found !== undefined && found !== false) return found;
    } catch (error) {
      if (error instanceof Hopeless) throw error;
      last = error;
    }
    await delay(options.intervalMs ?? 30, undefined, options.signal ? { signal: options.signal } : {});
  }
  const reason = last instanceof Error ? `: ${last.message}` : '';
  throw new Error(`${what} did not happen within ${deadlineMs / 1000} s${reason}`, { cause: last });
}

/** {@link waitFor}, given up with the end of a log as soon as one of the programs the condition hangs on has ended. */
export async function waitOn(
  what: string,
  daemons: readonly Daemon[],
  probe: () => Promise<boolean>,
  signal?: AbortSignal,
): Promise<void> {
  const check = async (): Promise<boolean> => {
    try {
      for (const daemon of daemons) daemon.assertRunning();
    } catch (error) {
      throw new Hopeless((error as Error).message);
    }
    return probe();
  };
  await waitFor(what, check, { signal });
}

/** Waiting longer cannot help. */
class Hopeless extends Error {
  override readonly name = 'Hopeless';
}
