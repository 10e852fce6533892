/** What a new configuration does to counters that run. */
import { expect, test } from 'vitest';
import type { LimitConfig } from '#sidecar/engine/tree-terms.ts';
import { limit, node, START_MS } from '#test/support/engine.ts';
import { useEngine } from './fixture.ts';

const rules = useEngine();
const MINUTE = 60_000;
const GUARD = 2000;

const account = (...limits: LimitConfig[]) => [node('account', null, { limits })];

test('N4 a changed rate scales the wait; a lowered limit kills nobody and grants nothing until it has room', async () => {
  await rules.engine.configure([node('account', null, { concurrency: 2, rate: { intervalUs: 10_000_000, burst: 1 } })]);
  const first = await rules.grant('1');
  await rules.engine.configure([node('account', null, { concurrency: 2, rate: { intervalUs: 1_000_000, burst: 1 } })]);
  expect(await rules.acquire('2', { generation: 2 })).toMatchObject({ reason: 'Rate', retryAtMs: START_MS + 1000 });
  await rules.engine.advance(1000);
  const second = await rules.grant('2', { generation: 2 });
  await rules.engine.configure([node('account', null, { concurrency: 1 })]);
  expect(await rules.inFlight('account')).toBe(2);
  await rules.settle(first);
  expect(await rules.acquire('3', { generation: 3 })).toMatchObject({ reason: 'Concurrency', used: 1, amount: 1 });
  await rules.settle(second);
  expect(await rules.acquire('3', { generation: 3 })).toMatchObject({ kind: 'granted' });
});

test('W4 a node deleted and made again finds its window as it was', async () => {
  const leaf = node('quota:a/leaf', 'account', { limits: [limit('daily', 2)] });
  await rules.engine.configure([node('account', null), leaf]);
  await rules.settle(await rules.grant('1', { leaf: leaf.name }));
  await rules.engine.configure([node('account', null)]);
  await rules.engine.configure([node('account', null), leaf]);
  expect(await rules.usage(leaf.name, 'daily')).toMatchObject({ used: 1, resetsAtMs: START_MS + MINUTE + GUARD });
  await rules.engine.configure([node('account', null)]);
  await rules.engine.advance(MINUTE + GUARD);
  await rules.engine.configure([node('account', null)]);
  expect(await rules.engine.redis.hkeys('q:{abcdefghijklmnopqrstuvwxyz}:n')).toEqual(['account']);
});

const changes: [string, Partial<LimitConfig>][] = [
  ['name', { name: 'renamed' }],
  ['type', { window: { type: 'Sliding', durationMs: MINUTE } }],
  ['duration', { window: { type: 'Anchored', durationMs: 2 * MINUTE } }],
  ['resource', { resource: 'Prompts' }],
];
test.each(changes)(
  'W4 a limit whose %s changes starts its new window at the old used fraction',
  async (_what, change) => {
    await rules.engine.configure(account(limit('daily', 4)));
    for (const id of ['1', '2', '3']) await rules.settle(await rules.grant(id));
    await rules.engine.configure(account(limit('daily', 8, change)));
    const name = change.name ?? 'daily';
    expect(await rules.usage('account', name)).toMatchObject({ used: 6, amount: 8 });
  },
);

test('W4 a limit that existed before inherits nothing from one that is removed beside it', async () => {
  const wide = limit('wide', 1000);
  await rules.engine.configure(account(limit('tight', 2), wide));
  for (const id of ['1', '2']) await rules.settle(await rules.grant(id));
  await rules.engine.configure(account(wide));
  expect(await rules.usage('account', 'wide')).toMatchObject({ used: 2, amount: 1000 });
});

test('W4 a window that passed on its used fraction once does not do so again at a later change of its node', async () => {
  const hour = limit('burst', 2, { window: { type: 'Anchored', durationMs: 60 * MINUTE } });
  await rules.engine.configure(account(hour));
  for (const id of ['1', '2']) await rules.settle(await rules.grant(id));
  const minute = limit('burst', 2);
  await rules.engine.configure(account(minute));
  expect(await rules.usage('account', 'burst')).toMatchObject({ used: 2 });
  await rules.engine.advance(MINUTE + GUARD);
  await rules.engine.configure([node('account', null, { limits: [minute], concurrency: 5 })]);
  expect(await rules.usage('account', 'burst')).toMatchObject({ used: 0, resetsAtMs: null });
  await rules.engine.configure(account(limit('burst', 2, { window: { type: 'Anchored', durationMs: 2 * MINUTE } })));
  expect(await rules.usage('account', 'burst')).toMatchObject({ used: 0, resetsAtMs: null });
});

test('W4 a node made again with a limit of another identity starts it at the fraction used before', async () => {
  const other = node('quota:a/other', 'account');
  const leaf = (durationMs: number) =>
    node('quota:a/leaf', 'account', { limits: [limit('daily', 2, { window: { type: 'Anchored', durationMs } })] });
  await rules.engine.configure([node('account', null), leaf(60 * MINUTE)]);
  await rules.settle(await rules.grant('1', { leaf: 'quota:a/leaf' }));
  await rules.engine.configure([node('account', null), other]);
  await rules.engine.configure([node('account', null), leaf(MINUTE)]);
  expect(await rules.usage('quota:a/leaf', 'daily')).toMatchObject({ used: 1 });
});
