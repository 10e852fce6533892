import { expect, test } from 'vitest';
import { HELD, limit, node, NOTHING, ONE, request, START_MS, TREE_KEY, treeOf } from '#test/support/engine.ts';
import { useEngine } from './fixture.ts';

const rules = useEngine();
const models = [node('model:glm-5.3', 'account', { concurrency: 1 }), node('model:other', 'account')];

test('W1 the path comes from the config record: leaf, ancestors, account and the routed model', async () => {
  await rules.engine.configure([
    node('account', null),
    ...models,
    node('quota:a/team', 'account'),
    node('quota:a/leaf', 'quota:a/team'),
  ]);
  await rules.grant('1', { leaf: 'quota:a/leaf', model: 'glm-5.3' });
  await rules.grant('2', { leaf: 'quota:a/leaf', model: 'not in the catalog' });
  const counts = ['account', 'quota:a/team', 'quota:a/leaf', 'model:glm-5.3', 'model:other'].map((name) =>
    rules.inFlight(name),
  );
  expect(await Promise.all(counts)).toEqual([2, 2, 2, 1, 1]);
});

test('W1 a caller with the paths of an older generation is answered stale until it has the new ones', async () => {
  await rules.engine.configure([node('account', null), node('quota:a/leaf', 'account')], { generation: 1 });
  await rules.engine.configure([node('account', null, { concurrency: 5 }), node('quota:a/leaf', 'account')], {
    generation: 2,
  });
  expect(await rules.acquire('same-paths', { generation: 1 })).toMatchObject({ kind: 'granted' });
  await rules.engine.configure([node('account', null)], { generation: 3 });
  expect(await rules.acquire('old', { generation: 2 })).toEqual({ kind: 'stale', generation: 3 });
  expect(await rules.acquire('ahead', { generation: 4 })).toEqual({ kind: 'stale', generation: 3 });
  expect(await rules.acquire('gone', { generation: 3, leaf: 'quota:a/leaf' })).toEqual({
    kind: 'stale',
    generation: 3,
  });
  expect(await rules.acquire('new', { generation: 3 })).toMatchObject({ kind: 'granted' });
});

test('W1 a lease stays counted where it was granted, also after its node was deleted', async () => {
  await rules.engine.configure([node('account', null), node('quota:a/leaf', 'account', { concurrency: 1 })]);
  const grant = await rules.grant('1', { leaf: 'quota:a/leaf' });
  await rules.engine.configure([node('account', null)]);
  expect(await rules.inFlight('account')).toBe(1);
  await rules.engine.configure([node('account', null), node('quota:a/leaf', 'account', { concurrency: 1 })]);
  expect(await rules.acquire('2', { leaf: 'quota:a/leaf', generation: 3 })).toMatchObject({ reason: 'Concurrency' });
  await rules.settle(grant);
  expect(await rules.drifts()).toEqual([]);
  expect(await rules.inFlight('quota:a/leaf')).toBe(0);
});

test('W2 another server raises the epoch, and a caller of the old one is told so and changes nothing', async () => {
  await rules.engine.configure([node('account', null, { limits: [limit('five-hour', 5)] })]);
  const grant = await rules.grant('1');
  await rules.engine.restartAs('another');
  const verdict = await rules.acquire('2', { epoch: grant.epoch });
  expect(verdict).toMatchObject({ kind: 'epoch' });
  expect(await rules.settle(grant)).toEqual(verdict);
  expect(await rules.inFlight('account')).toBe(1);
  const { epoch } = await rules.engine.sidecar.register({ owner: 'pod-1', leases: [], disclaimed: [] });
  expect(verdict).toEqual({ kind: 'epoch', epoch });
  expect(epoch).toBeGreaterThan(grant.epoch);
  expect(await rules.settle(grant)).toEqual({ kind: 'settled', late: false, overdraft: false });
});

test('W2 after all was lost, a registration puts running leases back and nothing more is granted than the limit', async () => {
  const nodes = [node('account', null, { concurrency: 1, limits: [limit('five-hour', 5)] })];
  await rules.engine.configure(nodes);
  const grant = await rules.grant('1');
  await rules.engine.wipe();
  await expect(rules.settle(grant)).rejects.toMatchObject({ code: 'unavailable' });
  await rules.engine.advance(1000);
  await rules.engine.configure(nodes, { generation: 1 });
  const settled = await rules.settle(grant);
  expect(settled).toMatchObject({ kind: 'epoch' });
  const lease = { id: '1', fence: grant.fence, epoch: grant.epoch };
  const registration = { owner: 'pod-1', leases: [{ lease, request: request('1'), sent: true }] };
  for (const _twice of [1, 2]) await rules.engine.sidecar.register({ ...registration, disclaimed: [] });
  expect(await rules.acquire('2')).toMatchObject({ reason: 'Concurrency', used: 1 });
  expect(await rules.settle(grant)).toMatchObject({ kind: 'settled' });
  expect(await rules.usage('account', 'five-hour')).toMatchObject({ used: 1, reserved: 0 });
  expect(await rules.drifts()).toEqual([]);
});

test.each([
  ['the first release', 146],
  ['the one before ours', 282],
])('a tree that %s wrote is not read as ours: it is configured anew, and learns first', async (_release, bytes) => {
  const meta = `q:{${TREE_KEY}}:m`;
  await rules.engine.configure([node('account', null)]);
  await rules.engine.redis.hdel(meta, 'state3');
  await rules.engine.redis.hset(meta, 'state', 'x'.repeat(bytes));
  await rules.engine.redis.hset(`q:{${TREE_KEY}}:q`, 'S:queued', 'x'.repeat(20));
  expect(await rules.engine.sidecar.snapshot()).toBeNull();
  expect(await rules.acquire('1')).toEqual({ kind: 'stale', generation: 0 });
  await expect(rules.engine.sidecar.tick()).rejects.toMatchObject({ code: 'unavailable' });
  await rules.engine.configure([node('account', null)], { generation: 1, transitions: 1 });
  expect(await rules.engine.redis.exists(`q:{${TREE_KEY}}:q`)).toBe(0);
  expect(await rules.acquire('2')).toMatchObject({ reason: 'Learning' });
  await rules.engine.advance(20_000);
  expect(await rules.acquire('3')).toMatchObject({ kind: 'granted' });
  // Too short for the code of either, which leaves a tree alone then, or fails before it writes.
  expect(await rules.engine.redis.hget(meta, 'state')).toBe('3');
});

test('W5 what somebody wrote beneath the text is told by the fingerprint, and gone with the next configure', async () => {
  const { admin, redis } = rules.engine;
  const field = [`q:{${TREE_KEY}}:c`, 'n:account'] as const;
  const allowing = (concurrency: number) => [node('account', null, { concurrency })];
  expect(await admin.fingerprint(TREE_KEY)).toBeNull();
  await rules.engine.configure(allowing(99), { generation: 1 });
  const other = await redis.hgetBuffer(...field);
  await rules.engine.configure(allowing(1), { generation: 2 });
  const ours = await admin.fingerprint(TREE_KEY);
  await rules.engine.configure(allowing(1), { generation: 2 });
  await admin.declareMove(TREE_KEY, { identities: ['one/more'], untilMs: START_MS });
  expect(await admin.fingerprint(TREE_KEY)).toBe(ours);

  await redis.hset(...field, other ?? '');
  expect(await admin.fingerprint(TREE_KEY)).not.toBe(ours);
  // Whatever a server has decoded already, one that starts anew reads what is written.
  await admin.loadLibrary();
  for (const id of ['1', '2']) expect(await rules.acquire(id, { generation: 2 })).toMatchObject({ kind: 'granted' });
  await rules.engine.configure(allowing(1), { generation: 2 });
  expect(await admin.fingerprint(TREE_KEY)).toBe(ours);
  expect(await rules.acquire('3', { generation: 2 })).toMatchObject({ reason: 'Concurrency' });
});

test('W3 a tree of another account is a conflict, a new uid of the same one is not', async () => {
  const tree = treeOf([node('account', null, { limits: [limit('five-hour', 2)] })]);
  const { admin } = rules.engine;
  const revision = (generation: number) => ({ leaseCreatedMs: START_MS, transitions: 0, generation });
  await admin.configure(tree, revision(1));
  await rules.grant('1');
  const foreign = { ...tree, account: { ...tree.account, name: 'other' } };
  expect(await admin.configure(foreign, revision(2))).toEqual({ kind: 'conflict', namespace: 'glm', name: 'max' });
  const reborn = { ...tree, account: { ...tree.account, uid: 'uid-2' } };
  expect(await admin.configure(reborn, revision(2))).toEqual({ kind: 'applied', generation: 2 });
  expect(await rules.usage('account', 'five-hour')).toMatchObject({ reserved: 1 });
});

test('an older writer is fenced, whatever its generation', async () => {
  const { admin } = rules.engine;
  const tree = treeOf([node('account', null)]);
  const newest = { leaseCreatedMs: START_MS, transitions: 2, generation: 1 };
  expect(await admin.configure(tree, newest)).toMatchObject({ kind: 'applied' });
  expect(await admin.configure(tree, newest)).toMatchObject({ kind: 'applied' });
  const older = { leaseCreatedMs: START_MS, transitions: 1, generation: 99 };
  expect(await admin.configure(tree, older)).toEqual({ kind: 'fenced', revision: newest });
  const other = treeOf([node('account', null, { concurrency: 1 })]);
  expect(await admin.configure(other, newest)).toEqual({ kind: 'fenced', revision: newest });
  const snapshot = await admin.snapshot(TREE_KEY);
  expect(snapshot).toMatchObject({ revision: newest, configHash: admin.hashOf(tree) });
});

test('inv-I8 a denial takes nothing anywhere, and names the failing limit that opens last', async () => {
  await rules.engine.configure([
    node('account', null, {
      rate: { intervalUs: 10_000_000, burst: 2 },
      limits: [limit('five-hour', 2), limit('tokens', 100, { resource: 'Tokens' })],
    }),
    node('quota:a/leaf', 'account', { concurrency: 1, limits: [limit('five-hour', 1, { windowOwner: 'account' })] }),
  ]);
  await rules.grant('1', { leaf: 'quota:a/leaf', reserve: { ...ONE, inputTokens: 60 } });
  const denied = await rules.acquire('2', { leaf: 'quota:a/leaf', reserve: { ...ONE, inputTokens: 10 } });
  expect(denied).toEqual({
    kind: 'denied',
    reason: 'Window',
    node: 'quota:a/leaf',
    limit: 'five-hour',
    used: 1,
    amount: 1,
    retryAtMs: START_MS + 62_000,
    serverNowMs: START_MS,
  });
  expect(await rules.usage('account', 'tokens')).toMatchObject({ used: 0, reserved: 60 });
  expect(await rules.acquire('3', { reserve: { ...NOTHING, inputTokens: 41 } })).toMatchObject({ limit: 'tokens' });
  expect(await rules.acquire('4')).toMatchObject({ kind: 'granted' });
});

test('inv-I5, inv-I6 asking twice charges once, and a cancelled id is never granted', async () => {
  await rules.engine.configure([node('account', null, { limits: [limit('five-hour', 5)] })]);
  const grant = await rules.grant('1');
  expect(await rules.acquire('1')).toEqual(grant);
  expect(await rules.acquire('1', { owner: 'somebody else' })).toEqual({ kind: 'done' });
  expect(await rules.usage('account', 'five-hour')).toMatchObject({ reserved: 1 });
  expect(await rules.settle({ ...grant, fence: grant.fence + 1 })).toEqual({ kind: 'unknown' });
  expect(await rules.settle(grant)).toMatchObject({ kind: 'settled' });
  expect(await rules.settle(grant)).toEqual({ kind: 'unknown' });
  expect(await rules.acquire('1')).toEqual({ kind: 'done' });
  await rules.engine.sidecar.cancel('overtaken');
  expect(await rules.acquire('overtaken')).toEqual({ kind: 'done' });
  expect(await rules.usage('account', 'five-hour')).toMatchObject({ used: 1, reserved: 0 });
});

test('a stopped node grants nothing below it', async () => {
  await rules.engine.configure([node('account', null), node('quota:a/leaf', 'account', { stops: HELD })]);
  expect(await rules.acquire('1', { leaf: 'quota:a/leaf' })).toMatchObject({ reason: 'Stopped', node: 'quota:a/leaf' });
  expect(await rules.acquire('2')).toMatchObject({ kind: 'granted' });
});

test('the operator reads back the tree it wrote', async () => {
  const { admin } = rules.engine;
  const window = { type: 'Calendar', period: 'Day', timeZone: 'Asia/Shanghai', boundariesMs: [1, 2, 3] } as const;
  const tree = treeOf([node('account', null, { limits: [limit('daily', 5, { window })] })]);
  expect(await admin.config(TREE_KEY)).toBeNull();
  await admin.configure(tree, { leaseCreatedMs: 1, transitions: 0, generation: 1 });
  expect(await admin.config(TREE_KEY)).toEqual(tree);
});
