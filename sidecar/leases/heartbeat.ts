/** The one loop that keeps a tree's leases alive. */
import type { Clock } from '../base/clock.ts';
import { jitter } from '../base/ids.ts';
import type { TreeSession } from './tree-session.ts';

/**
 * Beats every H ± 10 % while there is something to beat for, sooner when the session asks for it; an idle process is
 * silent. Ends when the signal aborts.
 */
export async function beatForever(session: TreeSession, clock: Clock, signal: AbortSignal): Promise<void> {
  const ended = Promise.withResolvers<void>();
  signal.addEventListener('abort', () => ended.resolve(), { once: true });
  while (!signal.aborted) {
    await Promise.race([session.busy(), ended.promise]);
    const sooner = new AbortController();
    void session.nudged().then(() => sooner.abort());
    const paused = clock.sleep(
      session.beatIntervalMs * (0.9 + 0.2 * jitter()),
      AbortSignal.any([signal, sooner.signal]),
    );
    await paused.catch(() => undefined);
    if (!signal.aborted) await session.beat(signal);
  }
}
