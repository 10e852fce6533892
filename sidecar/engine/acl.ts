/** What Redis users may do: one for each tree, written by the operator, used by the sidecars bound to it (rules F2, W5). */
import { configKey } from './keys.ts';
import type { TreeKey } from './tree-terms.ts';

/** Redis checks the commands inside a function against its caller, hence the list. */
const COMMANDS = [
  // The connection itself, and where in a cluster it leads. (CLIENT SETINFO is unknown to Redis 7.0 and would void the rules.)
  'hello',
  'auth',
  'ping',
  'info',
  'time',
  'wait',
  'asking',
  'client|setname',
  'cluster|slots',
  'ssubscribe',
  'sunsubscribe',
  // Called within functions.
  'del',
  'hdel',
  'hexists',
  'hget',
  'hgetall',
  'hincrby',
  'hkeys',
  'hlen',
  'hmget',
  'hset',
  'hvals',
  'spublish',
  'xadd',
  'xinfo|groups',
  'xlen',
  'xrange',
  'xtrim',
  'zadd',
  'zcard',
  'zcount',
  'zincrby',
  'zlexcount',
  'zrange',
  'zrangebylex',
  'zrangebyscore',
  'zrem',
  'zremrangebylex',
  'zremrangebyscore',
  'zrevrangebylex',
  'zscore',
] as const;

const FORM_COMMANDS = {
  functions: ['fcall', 'fcall_ro'],
  scripts: ['evalsha', 'evalsha_ro', 'eval', 'eval_ro'],
} as const;

/**
 * Rules for `ACL SETUSER`, without name, state and password: all keys and channels of the tree, of the config record only
 * reading. No other key of a tree may therefore begin with `c` after the tag. Functions that administer a tree write the
 * config record first, so they are refused. A user of the form `scripts` may run any Lua, but with these rights only.
 */
export function treeRules(tree: TreeKey, form: keyof typeof FORM_COMMANDS): readonly string[] {
  const config = configKey(tree);
  return [
    'resetkeys',
    `~${config.slice(0, -1)}[^c]*`,
    `%R~${config}`,
    'resetchannels',
    `&${config.slice(0, -1)}*`,
    '-@all',
    ...[...COMMANDS, ...FORM_COMMANDS[form]].map((command) => `+${command}`),
  ];
}

/** The user of a tree's sidecars. */
export function treeUser(tree: TreeKey): string {
  return `${TREE_USER_PREFIX}${tree}`;
}

/** No other user's name begins like this. */
export const TREE_USER_PREFIX = 'glmquota-tree-';
