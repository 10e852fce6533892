/** What a controller that leads does for the users of trees at Redis, and what it leaves alone. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { GLM_ACCOUNTS } from '#operator/controllers/world/kinds.ts';
import { treeKeyOf } from '#operator/trees/names.ts';
import { rotationOf, treePassword } from '#operator/tree-users.ts';
import { treeUser } from '#sidecar/engine/acl.ts';
import { configKey, TREE_FIELD } from '#sidecar/engine/keys.ts';
import { until } from '../../unit/runtime/await-until.ts';
import { FAST, openRedis, Stand } from './stand.ts';

const account = { namespace: 'glm', name: 'max' };
const key = treeKeyOf(account);
const USERS_KEY = 'the-key-of-all-users';

let stand: Stand;

beforeAll(async () => {
  stand = await Stand.start();
  await stand.namespace('glm');
  await stand.credential('glm', 'key', { apiKey: 'vendor-key-0001' });
  await stand.account(account);
}, 600_000);

afterAll(async () => stand?.[Symbol.asyncDispose]());

async function mayLogIn(uid: string): Promise<boolean> {
  const redis = openRedis(stand.redis.url);
  const password = treePassword(USERS_KEY, key, rotationOf({ uid, annotations: {} }));
  const answer = await redis.call('AUTH', treeUser(key), password).catch(() => null);
  redis.disconnect();
  return answer === 'OK';
}

const found = async () => (await stand.client.get(GLM_ACCOUNTS, account))!.metadata;

test('W5 an account that is made again has a password of its own', async () => {
  await using _controller = stand.startController('controller-0', FAST, { usersKey: USERS_KEY });
  const { uid } = await found();
  await until(() => mayLogIn(uid), 'the user is written');
  await stand.server.kubectl(['delete', '-n', 'glm', 'glmaccount', 'max']);
  await stand.account(account);
  const { uid: another } = await found();
  await until(() => mayLogIn(another), 'the user is written anew');
  await until(async () => !(await mayLogIn(uid)), 'the password of before serves no more');
  expect(await mayLogIn(another)).toBe(true);
});

test('W5 where sidecars share one user a repair leaves the account alone', async () => {
  const transitions = async () => (await stand.tree(account))?.revision.transitions;
  const before = await transitions();
  await using _controller = stand.startController('controller-1', FAST, { usersKey: null });
  await until(async () => (await transitions()) !== before, 'the new leader');
  const redis = openRedis(stand.redis.url);
  const type = { group: 'events.k8s.io', version: 'v1', plural: 'events', kind: 'Event', namespaced: true };
  await until(async () => {
    // Again and again: what a new leader finds with its first look it repairs in silence.
    await redis.hset(configKey(key), TREE_FIELD, '{}');
    const { items } = await stand.client.list(type, { namespace: 'glm' });
    return items.some(({ reason }) => reason === 'ConfigRepaired');
  }, 'the repair is told');
  redis.disconnect();
  expect((await found()).annotations ?? {}).toEqual({});
});
