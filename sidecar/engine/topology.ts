/** What kind of Redis a connection leads to, and which of its servers are masters or own a key. */
import { Cluster, Command, type Redis } from 'ioredis';
import { orAbort } from '../base/abort.ts';
import { AppError } from '../base/errors.ts';

/** No answer for this long is an answer. Beats must be over within 2 s (rule T3). */
export const COMMAND_TIMEOUT_MS = 2000;
/** What is on the move (a slot, a master) is asked for again this often, until the command times out. */
export const REDIRECT_DELAY_MS = 50;

/** One server (found directly or through Sentinels), or a cluster of them. */
export type RedisClient = Redis | Cluster;

export function isCluster(redis: RedisClient): redis is Cluster {
  return redis instanceof Cluster;
}

/** The servers that take writes: one, or every master of a cluster, which is asked for them. */
export async function mastersOf(redis: RedisClient): Promise<readonly Redis[]> {
  await refreshTopology(redis);
  return isCluster(redis) ? redis.nodes('master') : [redis];
}

/**
 * The server that owns `key` as far as is known, without asking anybody. Fails with `unavailable` when none is known; then
 * the cluster is asked anew in the background.
 */
export function ownerOf(redis: RedisClient, key: string): Redis {
  if (!isCluster(redis)) return redis;
  const address = redis.slots[slotOf(key)]?.[0];
  const owner = address === undefined ? null : nodeAt(redis, address);
  if (owner) return owner;
  void refreshTopology(redis).catch(() => undefined);
  throw new AppError('unavailable', 'no server of the Redis cluster is known to hold this tree');
}

/** The client's connection to a server of the cluster; null: it has none. */
export function nodeAt(redis: RedisClient, address: string): Redis | null {
  return isCluster(redis) ? (redis.nodes('all').find((each) => addressOf(each) === address) ?? null) : null;
}

/** Asks a cluster who owns which slot; fails when none of its servers answers. One server needs no asking. */
export async function refreshTopology(redis: RedisClient): Promise<void> {
  if (!isCluster(redis)) return;
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  redis.refreshSlotsCache((error) => (error ? reject(error) : resolve()));
  await promise;
}

/** `host:port` as the cluster calls it. */
export function addressOf(redis: Redis): string {
  return `${redis.options.host}:${redis.options.port}`;
}

function slotOf(key: string): number {
  const slot = new Command('get', [key]).getSlot();
  if (slot === null) throw new AppError('internal', `no slot for ${key}`);
  return slot;
}

/** Resolves once commands can be sent; rejects with the signal's reason. */
export async function untilReady(redis: RedisClient, signal: AbortSignal): Promise<void> {
  if (redis.status !== 'ready') await untilEvent(redis, 'ready', signal);
}

/** Resolves with the next event of this name; unlike `once` of `node:events` it does not fail with the errors of reconnecting. */
export async function untilEvent(redis: RedisClient, event: string, signal: AbortSignal): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const tell = (): void => resolve();
  redis.on(event, tell);
  try {
    await orAbort(promise, signal);
  } finally {
    redis.off(event, tell);
  }
}
