/** Guards of what a tree's memory is: which server holds it, and what it begins with (W2, F3); see `test/proof/mutation`. */
import { expect, test } from 'vitest';
import { limit, node, START_MS, treeOf } from '#test/support/engine.ts';
import { useEngine } from './fixture.ts';

const rules = useEngine();
const tokens = limit('tokens', 1000, { resource: 'Tokens' });

test('W2 a record that is another than this server wrote last is read as it stands', async () => {
  const record = [`q:{${rules.treeKey}}:n`, 'account'] as const;
  await rules.engine.configure([node('account', null)]);
  await rules.settle(await rules.grant('1'));
  const before = await rules.engine.redis.hgetBuffer(...record);
  await rules.grant('2');
  await rules.engine.redis.hset(...record, before ?? '');
  expect(await rules.inFlight('account')).toBe(0);
});

test('W2 an epoch that no clock can have raises nothing', async () => {
  await rules.engine.configure([node('account', null)]);
  const { epoch } = await rules.grant('1');
  expect(await rules.acquire('2', { epoch: Number.MAX_SAFE_INTEGER })).toEqual({ kind: 'epoch', epoch });
  expect(await rules.acquire('2', { epoch })).toMatchObject({ kind: 'granted' });
});

const move = async (identities: readonly string[], untilMs = START_MS + 60_000): Promise<void> =>
  rules.engine.admin.declareMove(rules.treeKey, { identities, untilMs });

test('W2 a move that was declared raises no epoch, until its time is over', async () => {
  await rules.engine.configure([node('account', null)]);
  const { epoch } = await rules.grant('1');
  await move(['one', 'two']);
  await rules.engine.restartAs('two');
  await rules.engine.advance(59_999);
  expect(await rules.acquire('2', { epoch })).toMatchObject({ kind: 'granted', epoch });
  await rules.engine.advance(1);
  await rules.engine.restartAs('one');
  expect(await rules.acquire('3', { epoch })).toMatchObject({ kind: 'epoch' });
});

test.each([
  ['from another server', ['zero', 'two']],
  ['to another server', ['one', 'three']],
])('W2 a move %s than was declared raises the epoch', async (_which, identities) => {
  await rules.engine.configure([node('account', null)]);
  const { epoch } = await rules.grant('1');
  await move(identities);
  await rules.engine.restartAs('two');
  expect(await rules.acquire('2', { epoch })).toMatchObject({ kind: 'epoch' });
});

test('F3 what is remembered of a tree is not added to a tree that is there', async () => {
  const nodes = [node('account', null, { limits: [tokens] })];
  await rules.engine.configure(nodes);
  const usage = [{ node: 'account', limit: 'tokens', used: 700, anchorMs: START_MS }];
  const revision = { leaseCreatedMs: START_MS, transitions: 0, generation: 2 };
  await rules.engine.admin.configure(treeOf(nodes), revision, { checkpoint: { usage, learnt: [] } });
  expect(await rules.usage('account', 'tokens')).toMatchObject({ used: 0 });
});

const learning = (concurrency: number, rateUntilMs: number) => ({
  usage: [],
  learnt: [{ node: 'account', concurrency, rateUntilMs }],
});
const adaptive = node('account', null, {
  concurrency: 8,
  adaptive: { min: 1, start: 2 },
  rate: { intervalUs: 1_000_000, burst: 2 },
});
const limitOf = async () => (await rules.engine.sidecar.snapshot())?.nodes[0]?.concurrency;

test('F3 what was learnt of a node is not taken over by one that is there', async () => {
  await rules.engine.configure([adaptive]);
  await rules.grant('1');
  const revision = { leaseCreatedMs: START_MS, transitions: 0, generation: 2 };
  await rules.engine.admin.configure(treeOf([adaptive]), revision, { checkpoint: learning(5, START_MS) });
  expect(await limitOf()).toBe(2);
});

test('F3 what is remembered of a node keeps to its bounds', async () => {
  const revision = { leaseCreatedMs: START_MS, transitions: 0, generation: 1 };
  await rules.engine.admin.configure(treeOf([adaptive]), revision, { checkpoint: learning(50, START_MS + 600_000) });
  expect(await limitOf()).toBe(8);
  expect(await rules.acquire('1')).toMatchObject({ reason: 'Rate', retryAtMs: START_MS + 1000 });
});
