/** What is pushed to an owner, as an iterable: notices in the order they came, until the signal aborts. */
import type { RedisConnection } from './connect.ts';
import type { Notice } from './port.ts';
import { parseNotice } from './replies.ts';

/** Notices that wait for their reader; a reader this far behind learns the rest from its beats. */
const MOST_WAITING = 10_000;

/** Without `subscribe` nothing ever comes: then only beats tell. */
export async function* notices(
  subscribe: RedisConnection['subscribe'] | undefined,
  channel: string,
  signal: AbortSignal,
  opened: () => void = () => undefined,
): AsyncGenerator<Notice> {
  const waiting: Notice[] = [];
  let arrived = Promise.withResolvers<void>();
  const wake = (): void => arrived.resolve();
  signal.addEventListener('abort', wake, { once: true });
  const onMessage = (text: string): void => {
    const notice = parseNotice(text);
    if (notice === null || waiting.length >= MOST_WAITING) return;
    waiting.push(notice);
    wake();
  };
  subscribe?.(channel, { onMessage, onSubscribed: opened }, signal);
  while (!signal.aborted) {
    for (let next = waiting.shift(); next && !signal.aborted; next = waiting.shift()) yield next;
    if (waiting.length > 0 || signal.aborted) continue;
    await arrived.promise;
    arrived = Promise.withResolvers<void>();
  }
}
