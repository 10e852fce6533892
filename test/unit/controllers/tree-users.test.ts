import { expect, test } from 'vitest';
import { rotationOf, treePassword } from '#operator/tree-users.ts';
import { TREE_KEY } from '#test/support/engine.ts';

const passwordOf = (uid: string, rotated?: string): string => {
  const annotations = rotated === undefined ? {} : { 'glmquota.io/rotate-redis-user': rotated };
  return treePassword('the-key', TREE_KEY, rotationOf({ uid, annotations }));
};

test('W5 an account that is made again never has a password of before, rotated or not', () => {
  const all = ['uid-1', 'uid-2'].flatMap((uid) => [passwordOf(uid), passwordOf(uid, 'again'), passwordOf(uid, '')]);
  expect(new Set(all).size).toBe(6);
});
