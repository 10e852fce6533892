/** The keys of a tree. Their number is fixed, whatever the depth or the number of callers; all share one hash tag. */
import { AppError } from '../base/errors.ts';
import type { TreeKey } from './terms.ts';

const TREE_KEY = /^[a-z2-7]{26}$/;

/**
 * KEYS of every function, in the order `keys_of` of `lua/prelude.lua` reads them: meta record, nodes' counters, leases,
 * expiries of live leases, expired leases, finished ids, owners, the waiting room's eight, holds, ledger.
 */
export function functionKeys(tree: TreeKey): readonly string[] {
  return SUFFIXES.map((suffix) => keyOf(tree, suffix));
}

/** The config record: written by `configure`, only read by everything else. */
export function configKey(tree: TreeKey): string {
  return keyOf(tree, 'c');
}

const SUFFIXES = ['m', 'n', 'l', 'e', 'x', 'd', 'o', 'w', 'y', 'q', 'f', 'r', 'h', 'k', 't', 'z', 'g'] as const;

/** Where grants and denials of an owner's waiters are published. */
export function noticeChannel(tree: TreeKey, owner: string): string {
  return keyOf(tree, `p:${owner}`);
}

/** Field of the config record that holds the tree as it was passed to `configure`. */
export const TREE_FIELD = 'j';

function keyOf(tree: TreeKey, suffix: string): string {
  if (!TREE_KEY.test(tree)) throw new AppError('invalid', `not a tree key: ${tree.slice(0, 64)}`);
  return `q:{${tree}}:${suffix}`;
}

/**
 * Rules of a Redis user for a sidecar, as words of `ACL SETUSER` after the user's name and password. Inner commands of
 * a function are checked against its caller, hence the list. `trees`: the trees it may use; default: all.
 */
export function sidecarAcl(trees: readonly TreeKey[] | null = null): readonly string[] {
  const tags = trees ?? ['*'];
  return [
    'resetkeys',
    'resetchannels',
    ...tags.flatMap((tag) => [...SUFFIXES.map((suffix) => `~q:{${tag}}:${suffix}`), `%R~q:{${tag}}:c`, `&q:{${tag}}:p:*`]),
    '-@all',
    ...SIDECAR_COMMANDS.map((command) => `+${command}`),
  ];
}

const SIDECAR_COMMANDS = [
  // The connection itself. (CLIENT SETINFO, which the client tries, is unknown to Redis 7.0 and would void the whole ACL file.)
  'hello',
  'auth',
  'ping',
  'info',
  'time',
  'wait',
  'client|setname',
  // Functions, and what they call.
  'fcall',
  'fcall_ro',
  'hget',
  'hmget',
  'hset',
  'hdel',
  'hvals',
  'zadd',
  'zrem',
  'zcard',
  'zscore',
  'zrangebyscore',
  'hkeys',
  'hgetall',
  'hexists',
  'exists',
  'del',
  'zrange',
  'zcount',
  'zrangebylex',
  'zremrangebylex',
  'zlexcount',
  'xadd',
  'spublish',
  'ssubscribe',
  'sunsubscribe',
] as const;
