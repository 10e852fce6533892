/** What nodes hold besides windows and slots, on a real Redis: promises, scopes, stops, learning, what the operator does. */
import { describe, expect, test } from 'vitest';
import type { NodeConfig } from '#sidecar/engine/tree-terms.ts';
import { limit, node, ONE, request, START_MS } from '#test/support/engine.ts';
import { useEngine } from './fixture.ts';

const rules = useEngine();
const WAIT = { mode: 'UntilWindow', maxWaitMs: 120_000 } as const;

const tree = async (model: Partial<NodeConfig>, account: Partial<NodeConfig> = {}): Promise<void> =>
  rules.engine.configure([
    node('account', null, account),
    node('model:glm-5.3', 'account', model),
    node('model:glm-4', 'account', model),
    node('model:other', 'account'),
  ]);

test('N3 a sibling cannot use what is guaranteed to another, and its owner can', async () => {
  const window = { type: 'Anchored', durationMs: 60_000 } as const;
  const shared = { windowOwner: 'account', window };
  await rules.engine.configure([
    node('account', null, { limits: [limit('five-hour', 10, { window })] }),
    node('model:other', 'account'),
    node('quota:a', 'account', { limits: [limit('five-hour', 10, { ...shared, guaranteed: 4 })] }),
    node('quota:b', 'account', { limits: [limit('five-hour', 10, shared)] }),
  ]);
  for (let call = 0; call < 6; call++) await rules.grant(`b${call}`, { leaf: 'quota:b' });
  expect(await rules.acquire('b6', { leaf: 'quota:b' })).toMatchObject({ reason: 'Window', node: 'account', used: 10 });
  for (let call = 0; call < 4; call++) await rules.grant(`a${call}`, { leaf: 'quota:a' });
  expect(await rules.acquire('a4', { leaf: 'quota:a' })).toMatchObject({ reason: 'Window' });
});

test('N6 an observed node counts and refuses nothing; enforced, it refuses at once', async () => {
  const limits = [limit('five-hour', 1)];
  const nodes = (observe: boolean) => [
    node('account', null),
    node('model:other', 'account'),
    node('quota:a', 'account', { concurrency: 1, limits, observe }),
  ];
  await rules.engine.configure(nodes(true));
  await rules.grant('1', { leaf: 'quota:a' });
  await rules.grant('2', { leaf: 'quota:a' });
  expect(await rules.usage('quota:a', 'five-hour')).toMatchObject({ reserved: 2 });
  await rules.engine.configure(nodes(false));
  expect(await rules.acquire('3', { leaf: 'quota:a', generation: 2 })).toMatchObject({ kind: 'denied' });
});

test('scope nodes count the calls that match, and a missing attribute counts as unset', async () => {
  const scope = { models: [], tools: ['search'], capabilities: [], sources: [], users: [], pools: [], namespaces: [] };
  await rules.engine.configure([
    node('account', null),
    node('model:other', 'account'),
    node('quota:a', 'account'),
    node('scope:search', 'quota:a', { concurrency: 1, scope: { ...scope, unset: 'Skip' } }),
  ]);
  await rules.grant('1', { leaf: 'quota:a', attributes: { tool: 'search' } });
  expect(await rules.acquire('2', { leaf: 'quota:a', attributes: { tool: 'search' } })).toMatchObject({
    reason: 'Concurrency',
    node: 'scope:search',
  });
  await rules.grant('3', { leaf: 'quota:a', attributes: { tool: 'edit' } });
  await rules.grant('4', { leaf: 'quota:a' });
  expect(await rules.acquire('5', { leaf: 'scope:search' })).toMatchObject({ kind: 'stale' });
});

test('a call above what one call may reserve is refused whatever is left', async () => {
  await tree({}, { perCall: [{ resource: 'Tokens', max: 100 }] });
  expect(await rules.acquire('1', { wait: WAIT, reserve: { ...ONE, inputTokens: 101 } })).toMatchObject({
    reason: 'PerCall',
    limit: 'per-call Tokens',
    used: 101,
    amount: 100,
  });
});

test('a grant tells which limits are past their threshold', async () => {
  await tree({}, { thresholds: [80, 90], limits: [limit('five-hour', 5)] });
  for (const id of ['1', '2', '3']) expect((await rules.grant(id)).warnings).toEqual([]);
  expect((await rules.grant('4')).warnings).toEqual([{ node: 'account', limit: 'five-hour', percent: 80 }]);
});

test('a stop by the clock holds the classes it does not except, and ends by itself', async () => {
  const stop = { name: 'night', fromMs: START_MS + 1000, untilMs: START_MS + 5000, except: ['System'] } as const;
  await tree({}, { stops: [stop] });
  await rules.grant('before');
  await rules.engine.advance(1000);
  expect(await rules.acquire('1')).toMatchObject({ reason: 'Stopped', limit: 'night', retryAtMs: START_MS + 5000 });
  expect(await rules.acquire('2', { class: 'System' })).toMatchObject({ kind: 'granted' });
  await rules.engine.advance(4000);
  expect(await rules.acquire('3')).toMatchObject({ kind: 'granted' });
});

test('T7 after a restart nothing is granted until every owner with leases has told what it runs, nor for a while', async () => {
  await tree({});
  const grant = await rules.grant('1', { owner: 'pod-1' });
  await rules.engine.restartAs('another');
  const { epoch } = await rules.engine.sidecar.register({ owner: 'pod-2', leases: [], disclaimed: [] });
  expect(await rules.acquire('2', { owner: 'pod-2', epoch })).toMatchObject({ reason: 'Learning' });
  const lease = { id: '1', fence: grant.fence, epoch: grant.epoch };
  await rules.engine.sidecar.register({
    owner: 'pod-1',
    leases: [{ lease, request: request('1'), sent: true }],
    disclaimed: [],
  });
  await rules.engine.advance(7499);
  expect(await rules.acquire('3', { owner: 'pod-2', epoch })).toMatchObject({ reason: 'Learning' });
  await rules.engine.advance(1);
  expect(await rules.acquire('4', { owner: 'pod-2', epoch })).toMatchObject({ kind: 'granted' });
});

test('T7 after a restart nothing is granted for one and a half beats, for owners whose only grants were forgotten', async () => {
  await tree({});
  await rules.engine.restartAs('another');
  const retryAtMs = rules.engine.nowMs + 7500;
  expect(await rules.acquire('1')).toMatchObject({ reason: 'Learning', retryAtMs });
  await rules.engine.advance(7500);
  expect(await rules.acquire('2')).toMatchObject({ kind: 'granted' });
});

test('T7 an owner that never comes back ends the learning at TTL + H', async () => {
  await tree({});
  await rules.grant('1', { owner: 'pod-1' });
  await rules.engine.restartAs('another');
  await rules.engine.sidecar.register({ owner: 'pod-2', leases: [], disclaimed: [] });
  expect(await rules.acquire('2', { owner: 'pod-2' })).toMatchObject({ reason: 'Learning' });
  await rules.engine.advance(20_000);
  expect(await rules.acquire('3', { owner: 'pod-2' })).toMatchObject({ kind: 'granted' });
});

test('a draining process gets nothing new, and keeps what it has', async () => {
  await tree({});
  const grant = await rules.grant('1', { owner: 'pod-1/a' });
  await rules.engine.admin.drain(rules.treeKey, 'pod-1', true);
  expect(await rules.acquire('2', { owner: 'pod-1/a' })).toMatchObject({ reason: 'Draining' });
  expect(await rules.acquire('3', { owner: 'pod-10/a' })).toMatchObject({ kind: 'granted' });
  expect(await rules.settle(grant)).toMatchObject({ kind: 'settled' });
  await rules.engine.admin.drain(rules.treeKey, 'pod-1', false);
  expect(await rules.acquire('4', { owner: 'pod-1/a' })).toMatchObject({ kind: 'granted' });
});

test('a reclaimed owner loses its leases as if they had expired; its slots come back after the zombie hold', async () => {
  await tree({ concurrency: 1 });
  const grant = await rules.grant('1', { owner: 'pod-1/a' });
  const reclaimed = await rules.engine.admin.reclaim(rules.treeKey, { prefix: 'pod-1/', except: null });
  expect(reclaimed).toEqual({ leases: 1, waiters: 0 });
  expect(await rules.acquire('2')).toMatchObject({ reason: 'Concurrency' });
  await rules.engine.advance(2000);
  expect(await rules.acquire('3')).toMatchObject({ kind: 'granted' });
  expect(await rules.settle(grant)).toMatchObject({ kind: 'settled', late: true });
  expect(await rules.drifts()).toEqual([]);
});

test('resetting a window forgets its use and keeps its reservations', async () => {
  await tree({}, { limits: [limit('five-hour', 3)] });
  await rules.settle(await rules.grant('1'));
  await rules.grant('2');
  expect(await rules.engine.admin.resetWindow(rules.treeKey, 'account', 'five-hour')).toBe(true);
  expect(await rules.usage('account', 'five-hour')).toMatchObject({ used: 0, reserved: 1 });
  expect(await rules.engine.admin.resetWindow(rules.treeKey, 'account', 'no such limit')).toBe(false);
});

test('F3 a tree whose memory was lost starts with rates as far used and limits as low as its checkpoint says', async () => {
  const nodes = [
    node('account', null),
    node('model:other', 'account', { concurrency: 6, adaptive: { min: 1, start: 4 } }),
    node('quota:team/a', 'account', { rate: { intervalUs: 10_000_000, burst: 3 } }),
    node('quota:team/b', 'account', { rate: { intervalUs: 10_000_000, burst: 3 } }),
  ];
  const tree = { key: rules.treeKey, account: { namespace: 'glm', name: 'max', uid: 'uid-1' }, nodes };
  const revision = { leaseCreatedMs: START_MS, transitions: 0, generation: 1 };
  const learnt = [
    { node: 'model:other', rateUntilMs: null, concurrency: 2 },
    { node: 'quota:team/a', rateUntilMs: START_MS + 25_000, concurrency: null },
    // More than its burst can ever have used ahead: of another rate.
    { node: 'quota:team/b', rateUntilMs: START_MS + 3_600_000, concurrency: null },
    { node: 'quota:gone', rateUntilMs: START_MS + 25_000, concurrency: null },
  ];
  await rules.engine.admin.configure(tree, revision, { checkpoint: { usage: [], learnt } });
  const { nodes: found } = (await rules.engine.admin.snapshot(rules.treeKey))!;
  expect(found.map(({ name, concurrency, rateWaitUs }) => [name, concurrency, rateWaitUs])).toEqual([
    ['account', null, 0],
    ['model:other', 2, 0],
    ['quota:team/a', null, 25_000_000],
    ['quota:team/b', null, 30_000_000],
  ]);
  expect(await rules.acquire('1', { leaf: 'quota:team/a' })).toMatchObject({ reason: 'Rate' });
  await rules.engine.advance(5000);
  expect(await rules.acquire('2', { leaf: 'quota:team/a' })).toMatchObject({ kind: 'granted' });
  expect(await rules.acquire('3', { leaf: 'quota:team/b' })).toMatchObject({ reason: 'Rate' });
});

test('F3 a tree whose memory was lost starts with what its checkpoint remembers, and learns first', async () => {
  const nodes = [node('account', null, { limits: [limit('five-hour', 10)] }), node('model:other', 'account')];
  const revision = { leaseCreatedMs: START_MS, transitions: 0, generation: 1 };
  const anchorMs = START_MS - 20_000;
  const usage = [{ node: 'account', limit: 'five-hour', used: 7, anchorMs }];
  const tree = { key: rules.treeKey, account: { namespace: 'glm', name: 'max', uid: 'uid-1' }, nodes };
  await rules.engine.admin.configure(tree, revision, { lost: true, checkpoint: { usage, learnt: [] } });
  expect(await rules.usage('account', 'five-hour')).toMatchObject({ used: 7, resetsAtMs: anchorMs + 60_000 + 2000 });
  expect(await rules.acquire('1')).toMatchObject({ reason: 'Learning' });
  await rules.engine.advance(20_000);
  expect(await rules.acquire('2')).toMatchObject({ kind: 'granted' });
});

describe('F3, N1 what is remembered of a window', () => {
  const ACCOUNT = {
    nodes: [node('account', null, { limits: [limit('five-hour', 10)] }), node('model:other', 'account')],
    use: { node: 'account', limit: 'five-hour', used: 7 },
  };
  const restore = async (
    anchor: { readonly anchorMs: number | null; readonly anchorLoMs: number },
    { nodes, use } = ACCOUNT,
  ): Promise<void> => {
    const tree = { key: rules.treeKey, account: { namespace: 'glm', name: 'max', uid: 'uid-1' }, nodes };
    const revision = { leaseCreatedMs: START_MS, transitions: 0, generation: 1 };
    await rules.engine.admin.configure(tree, revision, {
      checkpoint: { learnt: [], usage: [{ ...use, ...anchor }] },
    });
  };

  test('counts a call in the next one as well from its earliest opening on', async () => {
    await restore({ anchorMs: START_MS - 20_000, anchorLoMs: START_MS - 50_000 });
    await rules.engine.advance(10_000);
    await rules.settle(await rules.grant('1'));
    await rules.engine.advance(32_000);
    expect(await rules.usage('account', 'five-hour')).toMatchObject({ used: 1 });
  });

  test('opens its window when it did, if only a share of it is remembered', async () => {
    const window = { type: 'Anchored', durationMs: 60_000 } as const;
    const nodes = [
      node('account', null, { limits: [limit('five-hour', 10, { window })] }),
      node('model:other', 'account'),
      node('quota:a', 'account', { limits: [limit('five-hour', 10, { window, windowOwner: 'account' })] }),
    ];
    const share = { node: 'quota:a', limit: 'five-hour', used: 4 };
    await restore({ anchorMs: START_MS - 20_000, anchorLoMs: START_MS - 50_000 }, { nodes, use: share });
    expect(await rules.usage('quota:a', 'five-hour')).toMatchObject({ used: 4, resetsAtMs: START_MS + 42_000 });
    await rules.engine.advance(10_000);
    await rules.settle(await rules.grant('1', { leaf: 'quota:a' }));
    await rules.engine.advance(32_000);
    expect(await rules.usage('account', 'five-hour')).toMatchObject({ used: 1 });
  });

  test('may have opened until now, if nobody saw it', async () => {
    await restore({ anchorMs: null, anchorLoMs: START_MS - 50_000 });
    expect(await rules.usage('account', 'five-hour')).toMatchObject({ used: 7, resetsAtMs: START_MS + 62_000 });
  });
});
