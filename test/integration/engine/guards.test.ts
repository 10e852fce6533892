/** Guards of who decides (W1 to W6, F1, L2, inv-I5), each found missing a test by `test/proof/mutation`. */
import { expect, test } from 'vitest';
import { limit, node, NOTHING, request, settlement } from '#test/support/engine.ts';
import { useEngine } from './fixture.ts';
import { ref, useOwners } from './waiting-fixture.ts';
import { models, useWaitingRoom, WAIT } from './waiting-room.ts';

const rules = useEngine();
const { wait, queue, served } = useWaitingRoom(rules);
const { beat, pass } = useOwners(rules);

test.each([1, 9])('W1 a swap with the paths of generation %d is stale, its settlement is taken', async (generation) => {
  await rules.engine.configure([node('account', null), ...models, node('quota:a', 'account')]);
  const grant = await rules.grant('1');
  await rules.engine.configure([node('account', null), ...models]);
  const swapped = await rules.engine.sidecar.swap(settlement('1', grant.fence), request('2', { generation }));
  expect(swapped).toMatchObject({ settled: { kind: 'settled' }, verdict: { kind: 'stale', generation: 2 } });
});

test('W1 a node that is deleted and made again has not forgotten its rate', async () => {
  const leaf = node('quota:a', 'account', { rate: { intervalUs: 60_000_000, burst: 1 } });
  await rules.engine.configure([node('account', null), leaf]);
  await rules.settle(await rules.grant('1', { leaf: 'quota:a' }));
  await rules.engine.configure([node('account', null)]);
  await rules.engine.configure([node('account', null), leaf]);
  expect(await rules.acquire('2', { leaf: 'quota:a', generation: 3 })).toMatchObject({ reason: 'Rate' });
});

test('W2, T7 a caller that knows a later epoch raises it for all, and nothing is granted until owners registered', async () => {
  await rules.engine.configure([node('account', null)]);
  const { epoch } = await rules.grant('1', { owner: 'pod-2' });
  expect(await rules.acquire('2', { epoch: epoch + 5 })).toEqual({ kind: 'epoch', epoch: epoch + 6 });
  expect(await rules.acquire('2', { epoch: epoch + 6 })).toMatchObject({ reason: 'Learning' });
});

test('W2 after all was lost no fence is given a second time', async () => {
  await rules.engine.configure([node('account', null)]);
  const before = await rules.grant('1');
  await rules.engine.wipe();
  await rules.engine.advance(1);
  await rules.engine.configure([node('account', null)]);
  expect((await rules.grant('1', { generation: 2 })).fence).toBeGreaterThan(before.fence);
});

test('W2 a swap of an older epoch changes nothing', async () => {
  await rules.engine.configure([node('account', null)]);
  const grant = await rules.grant('1');
  await rules.engine.restartAs('another');
  const swapped = await rules.engine.sidecar.swap(settlement('1', grant.fence), request('2'));
  expect(swapped).toMatchObject({ settled: { kind: 'epoch' }, verdict: { kind: 'epoch' } });
  expect(await rules.inFlight('account')).toBe(1);
});

test('W6 a missing attribute matches a scope node that does not skip what is unset, and no other', async () => {
  const scope = { models: [], tools: ['search'], capabilities: [], sources: [], users: [], pools: [], namespaces: [] };
  const scoped = (unset: 'Match' | 'Skip') => [
    node('account', null),
    node('scope:search', 'account', { scope: { ...scope, unset } }),
  ];
  await rules.engine.configure(scoped('Skip'));
  await rules.grant('1');
  expect(await rules.inFlight('scope:search')).toBe(0);
  await rules.engine.configure(scoped('Match'));
  await rules.grant('2', { generation: 2 });
  expect(await rules.inFlight('scope:search')).toBe(1);
});

test('inv-I5 a beat keeps only what its owner holds, by fence', async () => {
  await rules.engine.configure([node('account', null, { concurrency: 1 }), ...models]);
  const grant = await rules.grant('1');
  await queue('2');
  expect(await beat('pod-1', { leases: [{ ...grant, fence: grant.fence + 1 }] })).toMatchObject({ lost: ['1'] });
  expect(await beat('pod-2', { waiters: ['2'] })).toMatchObject({ lost: ['2'] });
  await rules.settle(grant);
  expect(await beat('pod-2', { waiters: ['2'] })).toMatchObject({ lost: ['2'], notices: [] });
  expect(await served('2')).toMatchObject({ kind: 'granted' });
});

test.each([
  ['with another fence', 1, 'pod-1'],
  ['of another owner', 0, 'pod-2'],
])('inv-I5 a registration %s keeps no lease alive', async (_which, off, owner) => {
  await rules.engine.configure([node('account', null)]);
  const grant = await rules.grant('1');
  await pass(14_000);
  const leases = [{ lease: { ...ref(grant), fence: grant.fence + off }, request: request('1'), sent: true }];
  await rules.engine.sidecar.register({ owner, leases, disclaimed: [] });
  await pass(2000);
  expect(await rules.inFlight('account')).toBe(0);
});

test('inv-I5 what was settled stays settled, whoever registers it', async () => {
  await rules.engine.configure([node('account', null)]);
  const grant = await rules.grant('1');
  await rules.settle(grant);
  const leases = [{ lease: ref(grant), request: request('1'), sent: true }];
  await rules.engine.sidecar.register({ owner: 'pod-1', leases, disclaimed: [] });
  expect(await rules.inFlight('account')).toBe(0);
});

test('inv-I5 a call that waits and is registered as running waits no longer', async () => {
  await rules.engine.configure([node('account', null, { concurrency: 1 }), ...models]);
  const grant = await rules.grant('1');
  await queue('2');
  const running = { id: '2', fence: grant.fence + 10, epoch: grant.epoch };
  const leases = [{ lease: running, request: request('2'), sent: true }];
  await rules.engine.sidecar.register({ owner: 'pod-1', leases, disclaimed: [] });
  await rules.settle(grant);
  await rules.engine.sidecar.settle([settlement('2', running.fence)]);
  expect(await rules.inFlight('account')).toBe(0);
  expect(await rules.drifts()).toEqual([]);
});

test('inv-I5 the denial of a waiter is told to its owner only', async () => {
  await rules.engine.configure([node('account', null, { concurrency: 1 }), ...models]);
  await rules.grant('1');
  await queue('2', { wait: { ...WAIT, maxWaitMs: 1000 } });
  await rules.engine.advance(1000);
  await rules.engine.sidecar.tick();
  expect(await wait('2')).toMatchObject({ kind: 'denied' });
  expect(await wait('2', { owner: 'pod-2' })).toMatchObject({ kind: 'queued' });
});

test('inv-I5 an id whose slots are still held is done with', async () => {
  await rules.engine.configure([node('account', null)]);
  const grant = await rules.grant('1');
  await rules.settle(grant, { holdMs: 2000 });
  expect(await rules.acquire('1')).toEqual({ kind: 'done' });
  expect(await rules.settle(grant)).toEqual({ kind: 'unknown' });
});

const gives: Record<string, () => Promise<() => Promise<unknown>>> = {
  claim: async () => {
    const grant = await rules.grant('1');
    return () => rules.engine.sidecar.claim(ref(grant));
  },
  settle: async () => {
    const grant = await rules.grant('1');
    return () => rules.settle(grant);
  },
  cancel: async () => () => rules.engine.sidecar.cancel('1'),
  beat: async () => () => beat('pod-1'),
  tick: async () => () => rules.engine.sidecar.tick(),
  register: async () => () => rules.engine.sidecar.register({ owner: 'pod-1', leases: [], disclaimed: [] }),
  govern: async () => () => rules.engine.admin.freeze(rules.treeKey, 'account', null),
  swap: async () => {
    const grant = await rules.grant('1');
    return () => rules.engine.sidecar.swap(settlement('1', grant.fence), request('2'));
  },
};

async function whenFull(act: () => Promise<unknown>): Promise<unknown> {
  await rules.engine.redis.config('SET', 'maxmemory', '1');
  try {
    return await act();
  } finally {
    await rules.engine.redis.config('SET', 'maxmemory', '0');
  }
}

test.each(Object.entries(gives))('F1 %s runs when memory is full', async (_name, prepare) => {
  await rules.engine.configure([node('account', null)]);
  await whenFull(await prepare());
});

test('F1 an acquire is refused when memory is full', async () => {
  await rules.engine.configure([node('account', null)]);
  const asked = whenFull(() => rules.acquire('1'));
  await expect(asked).rejects.toMatchObject({ code: 'unavailable' });
});

const MAX_AMOUNT = Number.MAX_SAFE_INTEGER;
const cost = { ...NOTHING, nanoCost: MAX_AMOUNT };
const windows = [
  { type: 'Anchored', durationMs: 60_000 },
  { type: 'Sliding', durationMs: 60_000 },
  { type: 'Fixed', durationMs: 60_000 },
] as const;

test.each(windows)('L2 sums of a window $type stop at 2^53 − 1, used and reserved', async (window) => {
  const rule = limit('cost', MAX_AMOUNT, { resource: 'Cost', window });
  await rules.engine.configure([node('account', null, { limits: [rule], observe: true })]);
  const grants = [await rules.grant('1', { reserve: cost }), await rules.grant('2', { reserve: cost })];
  expect(await rules.usage('account', 'cost')).toMatchObject({ used: 0, reserved: MAX_AMOUNT });
  for (const grant of grants) await rules.settle(grant, { actual: cost });
  expect(await rules.usage('account', 'cost')).toMatchObject({ used: MAX_AMOUNT, reserved: 0 });
  expect(await rules.drifts()).toEqual([]);
});

test('W1 with a new leader the paths are known by its own generations', async () => {
  await rules.engine.configure([node('account', null)], { generation: 5 });
  await rules.engine.configure([node('account', null)], { transitions: 1, generation: 1 });
  expect(await rules.acquire('1', { generation: 1 })).toMatchObject({ kind: 'granted' });
});

test('W1 who waits at a leaf that is gone is denied', async () => {
  await rules.engine.configure([node('account', null), ...models, node('quota:a', 'account', { concurrency: 0 })]);
  await queue('1', { leaf: 'quota:a' });
  await rules.engine.configure([node('account', null), ...models]);
  expect(await beat('pod-1', { waiters: ['1'] })).toMatchObject({ notices: [{ id: '1', denial: { reason: 'Gone' } }] });
});

test('W1, Q6 who waits behind a node is looked at when its leaf moves away from it, although others still wait there', async () => {
  const tree = async (parent: string) =>
    rules.engine.configure([
      node('account', null),
      ...models,
      node('quota:x', 'account', { concurrency: 1 }),
      node('quota:x/a', 'quota:x'),
      node('quota:b', parent),
    ]);
  await tree('quota:x');
  await rules.grant('1', { leaf: 'quota:x/a' });
  await queue('a', { leaf: 'quota:x/a' });
  await queue('b', { leaf: 'quota:b' });
  await tree('account');
  expect(await served('b')).toMatchObject({ kind: 'granted' });
});

test('W4 a limit of another name and kind inherits nothing', async () => {
  await rules.engine.configure([node('account', null, { limits: [limit('daily', 4)] })]);
  await rules.settle(await rules.grant('1'));
  const other = limit('other', 4, { window: { type: 'Sliding', durationMs: 60_000 } });
  await rules.engine.configure([node('account', null, { limits: [other] })]);
  expect(await rules.usage('account', 'other')).toMatchObject({ used: 0 });
});

test('W1 a scope node below another counts only what that one counts', async () => {
  const all = { models: [], tools: [], capabilities: [], sources: [], users: [], pools: [], namespaces: [] };
  const scope = (of: Partial<Record<keyof typeof all, string[]>>) => ({ ...all, ...of, unset: 'Skip' as const });
  await rules.engine.configure([
    node('account', null),
    ...models,
    node('scope:search', 'account', { scope: scope({ tools: ['search'] }) }),
    node('scope:search/ann', 'scope:search', { scope: scope({ users: ['ann'] }) }),
  ]);
  await rules.grant('1', { attributes: { tool: 'edit', user: 'ann' } });
  expect(await rules.inFlight('scope:search/ann')).toBe(0);
  await rules.grant('2', { attributes: { tool: 'search', user: 'ann' } });
  expect(await rules.inFlight('scope:search/ann')).toBe(1);
});

const tokens = limit('tokens', 1000, { resource: 'Tokens' });

test('L2 a correction of what was forgotten meanwhile leaves nothing below zero', async () => {
  await rules.engine.configure([node('account', null, { limits: [tokens] })]);
  const grant = await rules.grant('1', { reserve: { ...NOTHING, inputTokens: 100 } });
  await pass(20_000);
  await rules.engine.admin.resetWindow(rules.treeKey, 'account', 'tokens');
  await rules.settle(grant, { actual: { ...NOTHING, inputTokens: 10 } });
  expect(await rules.usage('account', 'tokens')).toMatchObject({ used: 0, reserved: 0 });
});
