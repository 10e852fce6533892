import { expect, test } from 'vitest';
import { RedisKeeper } from '#operator/redis-keeper.ts';
import type { Rotation } from '#operator/tree-users.ts';
import { createLog } from '#sidecar/base/log.ts';
import { treeUser } from '#sidecar/engine/acl.ts';
import type { RedisServer } from '#sidecar/engine/servers.ts';
import type { TreeKey } from '#sidecar/engine/tree-terms.ts';
import { TREE_KEY } from '#test/support/engine.ts';
import { ManualClock } from '../runtime/manual-clock.ts';

const LOOK_MS = 10_000;

test('W5 who logged in with an old password is sent away, also when that failed at first', async () => {
  const users = new Map<string, string>();
  const kills: string[] = [];
  let failures = 0;
  const server: RedisServer = {
    address: 'replica',
    isMaster: false,
    call: async (command, ...args) => {
      const [word, ...rest] = args.map(String);
      if (command === 'CLIENT') {
        if (failures-- > 0) throw new Error('Connection is closed.');
        kills.push(rest.join(' '));
      }
      if (`${command} ${word}` === 'ACL SETUSER') users.set(rest[0] ?? '', rest.slice(1).join(' '));
      if (`${command} ${word}` === 'ACL LIST') return Array.from(users, ([name, words]) => `user ${name} ${words}`);
      return command === 'COMMAND' ? [null] : null;
    },
  };
  const trees = new Map<TreeKey, Rotation>([[TREE_KEY, null]]);
  const clock = new ManualClock();
  const servers = { list: async () => [server], subscribe: () => ({ [Symbol.dispose]: () => undefined }) };
  const keeper = new RedisKeeper({
    servers: { ...servers, [Symbol.dispose]: () => undefined },
    usersKey: 'key',
    trees: () => trees,
    clock,
    log: createLog('silent'),
  });
  const stop = new AbortController();
  const running = keeper.run(stop.signal);
  await clock.advance(LOOK_MS);
  trees.set(TREE_KEY, 'again');
  await clock.advance(LOOK_MS);
  failures = 1;
  await clock.advance(LOOK_MS);
  expect(kills).toEqual([]);
  await clock.advance(LOOK_MS);
  await clock.advance(LOOK_MS);
  expect(kills).toEqual([`USER ${treeUser(TREE_KEY)}`]);
  stop.abort();
  await running;
});
