/** The one loop that keeps a tree's leases alive. */
import type { Clock } from '../base/clock.ts';
import { jitter } from '../base/ids.ts';
import type { TreeSession } from './tree-session.ts';

/** Beats every H ± 10 % while there is something to beat for; an idle process is silent. Ends when the signal aborts. */
export async function beatForever(session: TreeSession, clock: Clock, signal: AbortSignal): Promise<void> {
  const ended = Promise.withResolvers<void>();
  signal.addEventListener('abort', () => ended.resolve(), { once: true });
  while (!signal.aborted) {
    await Promise.race([session.busy(), ended.promise]);
    await clock.sleep(session.beatIntervalMs * (0.9 + 0.2 * jitter()), signal).catch(() => undefined);
    if (!signal.aborted) await session.beat(signal);
  }
}
