/** The one loop that keeps a tree's leases alive. */
import type { Clock } from '../base/clock.ts';
import { jitter } from '../base/ids.ts';
import type { TreeSession } from './tree-session.ts';

/** After a beat without an answer: a lifetime has room for few beats, and each may take long to fail. */
const AGAIN_MS = 1000;

/**
 * Beats every H ± 10 % while there is something to beat for, sooner when the session asks for it or Redis did not answer;
 * an idle process is silent. Ends when the signal aborts.
 */
export async function beatForever(session: TreeSession, clock: Clock, signal: AbortSignal): Promise<void> {
  const ended = Promise.withResolvers<void>();
  signal.addEventListener('abort', () => ended.resolve(), { once: true });
  let answered = true;
  while (!signal.aborted) {
    await Promise.race([session.busy(), ended.promise]);
    const sooner = new AbortController();
    void session.nudged().then(() => sooner.abort());
    const pauseMs = (answered ? session.beatIntervalMs : AGAIN_MS) * (0.9 + 0.2 * jitter());
    await clock.sleep(pauseMs, AbortSignal.any([signal, sooner.signal])).catch(() => undefined);
    if (!signal.aborted) answered = await session.beat(signal);
  }
}
