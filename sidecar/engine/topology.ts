/** What kind of Redis a connection leads to, and which of its servers are masters or own a key. */
import { Cluster, Command, type Redis } from 'ioredis';
import { AppError } from '../base/errors.ts';

/** One server (found directly or through Sentinels), or a cluster of them. */
export type RedisClient = Redis | Cluster;

/** The servers that take writes: one, or every master of a cluster that is known now. */
export function mastersOf(redis: RedisClient): readonly Redis[] {
  return redis instanceof Cluster ? redis.nodes('master') : [redis];
}

/**
 * The server that owns `key` as far as is known, without asking anybody. Fails with `unavailable` when none is known; then
 * the cluster is asked anew in the background.
 */
export function ownerOf(redis: RedisClient, key: string): Redis {
  if (!(redis instanceof Cluster)) return redis;
  const address = redis.slots[slotOf(key)]?.[0];
  const owner = redis.nodes('all').find((each) => addressOf(each) === address);
  if (owner) return owner;
  redis.refreshSlotsCache();
  throw new AppError('unavailable', 'no server of the Redis cluster is known to hold this tree');
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
