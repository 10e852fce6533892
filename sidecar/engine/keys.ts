/** The keys of a tree. Their number is fixed, whatever the depth or the number of callers; all share one hash tag. */
import { AppError } from '../base/errors.ts';
import type { TreeKey } from './tree-terms.ts';

const TREE_KEY = /^[a-z2-7]{26}$/;

/**
 * KEYS of every function, in the order `keys_of` of `lua/prelude.lua` reads them: meta record, nodes' counters, leases,
 * expiries of live leases, expired leases, finished ids, owners, the waiting room's eight, holds, ledger.
 */
export function functionKeys(tree: TreeKey): readonly [string, ...string[]] {
  const [first, ...others] = SUFFIXES;
  return [keyOf(tree, first), ...others.map((suffix) => keyOf(tree, suffix))];
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

/** Field of the config record that `declareMove` writes, and `configure` leaves alone. */
export const MOVE_FIELD = 'm';

function keyOf(tree: TreeKey, suffix: string): string {
  if (!TREE_KEY.test(tree)) throw new AppError('invalid', `not a tree key: ${tree.slice(0, 64)}`);
  return `q:{${tree}}:${suffix}`;
}
