/** Subscriptions to sharded channels that outlive connections, fail-overs and moves of their slot. */
import type { Redis } from 'ioredis';
import { orAbort } from '../base/abort.ts';
import type { Clock } from '../base/clock.ts';
import { AppError } from '../base/errors.ts';
import { storeError } from './redis-errors.ts';
import { ownerOf, type RedisClient, refreshTopology, untilReady } from './topology.ts';

export interface Subscriber {
  onMessage(text: string): void;
  /** Messages come from now on; whatever was published before is lost. */
  onSubscribed(): void;
}

export interface SubscriptionOptions {
  readonly redis: RedisClient;
  readonly channel: string;
  readonly subscriber: Subscriber;
  readonly clock: Clock;
  /** Told of each attempt that failed. */
  readonly onError: (error: AppError) => void;
}

const FIRST_DELAY_MS = 50;
const MOST_DELAY_MS = 1000;

/** Keeps the subscription until the signal aborts; never fails. */
export async function subscribe(options: SubscriptionOptions, signal: AbortSignal): Promise<void> {
  const { redis, clock, onError } = options;
  let delayMs = FIRST_DELAY_MS;
  while (!signal.aborted) {
    try {
      await untilReady(redis, signal);
      await stand(options, ownerOf(redis, options.channel), signal);
      delayMs = FIRST_DELAY_MS;
    } catch (reason) {
      if (signal.aborted) return;
      onError(storeError(reason));
      await clock.sleep(delayMs, signal).catch(() => undefined);
      delayMs = Math.min(2 * delayMs, MOST_DELAY_MS);
    }
    // Whatever ended it, the channel may belong to another server now.
    await refreshTopology(redis).catch(() => undefined);
  }
}

/** Subscribes at `server` and resolves once the subscription no longer stands. */
async function stand(options: SubscriptionOptions, server: Redis, signal: AbortSignal): Promise<void> {
  const { redis, channel, subscriber } = options;
  const over = Promise.withResolvers<void>();
  const end = (): void => over.resolve();
  const onMessage = (from: string, text: string): void => {
    if (from === channel) subscriber.onMessage(text);
  };
  const lookAgain = (): void => {
    if (!isOwner(redis, channel, server)) end();
  };
  await assertResp3(server);
  await using stack = new AsyncDisposableStack();
  const listen = (source: RedisClient, event: string, listener: (...args: never[]) => void): void => {
    source.on(event, listener as () => void);
    stack.defer(() => void source.off(event, listener as () => void));
  };
  listen(server, 'smessage', onMessage);
  // The server tells by `sunsubscribe` that the slot has left it.
  for (const event of ['close', 'end', 'moved']) listen(server, event, end);
  for (const event of ['refresh', '-node']) listen(redis, event, lookAgain);
  await server.ssubscribe(channel);
  subscriber.onSubscribed();
  try {
    await orAbort(over.promise, signal);
  } catch {
    // Without the connection there is nothing to give up.
    await server.sunsubscribe(channel).catch(() => undefined);
  }
}

function isOwner(redis: RedisClient, channel: string, server: Redis): boolean {
  try {
    return ownerOf(redis, channel) === server;
  } catch {
    return false;
  }
}

/** With RESP2 a subscription would take the connection away from the commands, without a word. */
async function assertResp3(server: Redis): Promise<void> {
  const reply = (await server.call('HELLO')) as readonly unknown[];
  if (reply[reply.indexOf('proto') + 1] === 3) return;
  throw new AppError('unsupported', 'this Redis, or a proxy before it, does not speak RESP3: nothing can be pushed');
}
