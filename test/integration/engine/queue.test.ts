/** The waiting room on a real Redis: who waits, who is next, what wakes them (rules Q1 to Q9, T5, W6). */
import { expect, test } from 'vitest';
import type { Grant } from '#sidecar/engine/terms.ts';
import { limit, node, NOTHING, ONE, START_MS } from '#test/support/engine.ts';
import { useEngine } from './fixture.ts';
import { models, useWaitingRoom } from './waiting-room.ts';

const rules = useEngine();
const { fates, queue, served, serveAll, wait } = useWaitingRoom(rules);
const SLOT = { mode: 'UntilSlot', maxWaitMs: 60_000 } as const;

test('a freed slot goes to the next waiter in the very step that frees it', async () => {
  await rules.engine.configure([node('account', null, { concurrency: 1 }), ...models]);
  const grant = await rules.grant('1');
  await queue('2');
  await rules.settle(grant);
  expect(await rules.inFlight('account')).toBe(1);
  expect(await served('2')).toMatchObject({ kind: 'granted', id: '2' });
  expect(await rules.drifts()).toEqual([]);
});

test('a grant out of the queue is published to its owner', async () => {
  await rules.engine.configure([node('account', null, { concurrency: 1 }), ...models]);
  const grant = await rules.grant('1');
  await queue('2', { owner: 'pod-2' });
  const heard = rules.heardBy('pod-2');
  await heard.listening;
  await rules.settle(grant);
  expect(await heard.next()).toMatchObject({ kind: 'granted', id: '2', grant: { ttlMs: 13_000 } });
});

test('asking twice changes nothing about a waiter, and nobody else can take its id', async () => {
  await rules.engine.configure([node('account', null, { concurrency: 1 }), ...models]);
  await rules.grant('1');
  await queue('2');
  await queue('3');
  expect(await wait('2')).toMatchObject({ kind: 'queued', position: 1 });
  expect(await wait('3')).toMatchObject({ kind: 'queued', position: 2 });
  expect(await wait('2', { owner: 'pod-2' })).toEqual({ kind: 'done' });
});

test('no barging: who comes later does not pass a waiter, even with a slot free for a moment', async () => {
  await rules.engine.configure([node('account', null, { concurrency: 1 }), ...models]);
  const grant = await rules.grant('1');
  await queue('2');
  await rules.settle(grant);
  expect(await rules.acquire('3')).toMatchObject({ kind: 'denied', reason: 'Concurrency' });
  await rules.engine.sidecar.cancel('2');
  expect(await rules.acquire('4')).toMatchObject({ kind: 'granted' });
});

test('Q1 a model that is full does not keep the other models of the same flow waiting', async () => {
  const [first, second, other] = models;
  await rules.engine.configure([node('account', null), { ...first!, concurrency: 1 }, second!, other!]);
  await rules.grant('1');
  await queue('2');
  expect(await wait('3', { model: 'glm-4' })).toMatchObject({ kind: 'granted' });
});

test('owners of one flow take turns, and each has its own calls first come, first served', async () => {
  await rules.engine.configure([node('account', null, { concurrency: 1 }), ...models]);
  const grant = await rules.grant('0');
  const waiting = ['a1', 'a2', 'a3', 'b1', 'b2'].map((id) => ({ id, owner: id.startsWith('a') ? 'pod-1' : 'pod-2' }));
  for (const { id, owner } of waiting) await queue(id, { owner });
  expect(await serveAll(grant, waiting)).toEqual(['a1', 'b1', 'a2', 'b2', 'a3']);
});

test.each<[string, number]>([
  ['account', 1],
  ['quota:team', 1],
])('Q2 shares of a full %s follow the weights 8:2:1', async (full) => {
  const weights = { a: 8, b: 2, c: 1 };
  await rules.engine.configure([
    node('account', null, { concurrency: full === 'account' ? 1 : 50 }),
    ...models,
    node('quota:team', 'account', { concurrency: full === 'account' ? null : 1 }),
    ...Object.entries(weights).map(([name, weight]) => node(`quota:${name}`, 'quota:team', { weight })),
  ]);
  const grant = await rules.grant('0', { leaf: 'quota:team' });
  const waiting = Object.keys(weights).flatMap((name) =>
    Array.from({ length: 44 }, (_, index) => ({ id: `${name}${index}`, owner: 'pod-1', leaf: `quota:${name}` })),
  );
  for (const { id, owner, leaf } of waiting) await queue(id, { owner, leaf });
  const order = (await serveAll(grant, waiting)).slice(0, 44);
  const share = (name: string): number => order.filter((id) => id.startsWith(name)).length / order.length;
  expect(share('a')).toBeCloseTo(8 / 11, 1);
  expect(Math.abs(share('b') - 2 / 11)).toBeLessThan(0.03);
  expect(Math.abs(share('c') - 1 / 11)).toBeLessThan(0.03);
});

test('Q3 a large call waits for its window while smaller ones are served', async () => {
  const tokens = limit('tokens', 100, { resource: 'Tokens', window: { type: 'Fixed', durationMs: 60_000 } });
  await rules.engine.configure([node('account', null, { limits: [tokens] }), ...models]);
  await rules.grant('1', { reserve: { ...ONE, inputTokens: 60 } });
  await queue('large', { reserve: { ...ONE, inputTokens: 80 } });
  expect(await wait('small', { reserve: { ...ONE, inputTokens: 20 }, model: 'glm-4' })).toMatchObject({
    kind: 'granted',
  });
});

test('Q4 a call that cannot be served before its deadline is denied at once', async () => {
  const daily = limit('daily', 1, { window: { type: 'Fixed', durationMs: 86_400_000 } });
  await rules.engine.configure([node('account', null, { limits: [daily] }), ...models]);
  await rules.grant('1');
  expect(await wait('2')).toMatchObject({ kind: 'denied', reason: 'Window', limit: 'daily' });
});

test('Q4 UntilSlot waits for a slot, and is denied as soon as a window is used up', async () => {
  const minute = limit('minute', 2, { window: { type: 'Fixed', durationMs: 60_000 } });
  await rules.engine.configure([node('account', null, { concurrency: 1, limits: [minute] }), ...models]);
  const grant = await rules.grant('1');
  await queue('2', { wait: SLOT });
  await queue('3', { wait: SLOT });
  await rules.settle(grant);
  const second = await served('2');
  await rules.settle(second);
  expect((await fates('pod-1', '3')).get('3')).toMatchObject({ kind: 'denied', denial: { reason: 'Window' } });
});

test('UntilWindow waits for a window that opens in time, and is served by the tick that is due then', async () => {
  const minute = limit('minute', 1, { window: { type: 'Fixed', durationMs: 60_000 } });
  await rules.engine.configure([node('account', null, { limits: [minute] }), ...models]);
  await rules.grant('1');
  const verdict = await wait('2', { wait: { mode: 'UntilWindow', maxWaitMs: 70_000 } });
  expect(verdict).toMatchObject({ kind: 'queued', nextTickMs: START_MS + 60_000 });
  for (let ms = 0; ms < 60_000; ms += 5000) {
    await rules.engine.advance(5000);
    if (ms < 55_000) await fates('pod-1', '2');
  }
  await rules.engine.sidecar.tick();
  expect(await served('2')).toMatchObject({ kind: 'granted' });
});

test('Q5 a call that smaller ones passed eight times is kept free until it fits', async () => {
  const tokens = limit('tokens', 100, { resource: 'Tokens', window: { type: 'Sliding', durationMs: 60_000 } });
  await rules.engine.configure([node('account', null, { limits: [tokens] }), ...models]);
  const small = { ...ONE, inputTokens: 10 };
  const holders: Grant[] = [];
  for (let index = 0; index < 3; index++)
    holders.push(await rules.grant(`held${index}`, { reserve: small, model: 'glm-4' }));
  await queue('large', { reserve: { ...ONE, inputTokens: 90 } });
  const verdicts: string[] = [];
  for (let index = 0; index < 9; index++) {
    const verdict = await rules.acquire(`small${index}`, { reserve: { ...ONE, inputTokens: 1 }, model: 'glm-4' });
    verdicts.push(verdict.kind === 'denied' ? verdict.reason : verdict.kind);
    if (verdict.kind === 'granted') await rules.settle(verdict, { actual: NOTHING });
  }
  expect(verdicts).toEqual([...Array.from({ length: 8 }, () => 'granted'), 'Waiting']);
  for (const holder of holders) await rules.settle(holder, { outcome: 'neverSent' });
  expect(await served('large')).toMatchObject({ kind: 'granted' });
});

const wakers: Record<string, (holder: Grant) => Promise<unknown>> = {
  'a settlement': async (holder) => rules.settle(holder),
  'a refund': async (holder) => rules.settle(holder, { outcome: 'neverSent' }),
  'a cancel': async (holder) => rules.engine.sidecar.cancel(holder.id),
  'a raised limit': async () => configured(2),
  'a removed limit': async () => configured(null),
  'a disclaimed grant': async (holder) =>
    rules.engine.sidecar.register({ owner: 'pod-2', leases: [], disclaimed: [holder.id] }),
  'a reclaimed owner': async () => {
    await rules.engine.admin.reclaim(rules.treeKey, { prefix: 'pod-2', except: null });
    await rules.engine.advance(2000);
    await rules.engine.sidecar.tick();
  },
};
const configured = async (concurrency: number | null): Promise<void> =>
  rules.engine.configure([node('account', null), ...models, node('quota:team', 'account', { concurrency })]);
test.each(Object.entries(wakers))('Q6 %s wakes who is parked', async (_name, wake) => {
  await configured(1);
  const holder = await rules.grant('1', { owner: 'pod-2', leaf: 'quota:team' });
  await queue('2', { leaf: 'quota:team' });
  await wake(holder);
  expect(await served('2')).toMatchObject({ kind: 'granted' });
});

test('Q6 a lease that expires wakes who is parked', async () => {
  await configured(1);
  await rules.grant('1', { owner: 'pod-2', leaf: 'quota:team' });
  await queue('2', { leaf: 'quota:team' });
  for (let passed = 0; passed < 20_000; passed += 5000) {
    await rules.engine.advance(5000);
    await fates('pod-1', '2');
  }
  expect(await rules.acquire('2', { leaf: 'quota:team' })).toMatchObject({ kind: 'granted' });
});

test('Q6 a moved quota wakes who is parked behind the node it left', async () => {
  const nodes = (parent: string) => [
    node('account', null),
    ...models,
    node('quota:team', 'account', { concurrency: 1 }),
    node('quota:leaf', parent),
  ];
  await rules.engine.configure(nodes('quota:team'));
  await rules.grant('1', { leaf: 'quota:team' });
  await queue('2', { leaf: 'quota:leaf' });
  await rules.engine.configure(nodes('account'));
  expect(await served('2')).toMatchObject({ kind: 'granted' });
});

test('Q6 the end of a freeze, of a stop and of a rate gap each serve who waited for it', async () => {
  const until = START_MS + 10_000;
  const shapes = [
    { stops: [{ name: 'night', fromMs: 0, untilMs: until, except: [] }] },
    { rate: { intervalUs: 10_000_000, burst: 1 } },
  ];
  for (const [index, shape] of shapes.entries()) {
    await rules.engine.wipe();
    await rules.engine.setUs(START_MS * 1000);
    await rules.engine.configure([node('account', null, shape), ...models], { transitions: index + 1, generation: 1 });
    if (shape.rate) await rules.grant('first');
    await queue('2');
    await rules.engine.advance(10_000);
    expect(await served('2')).toMatchObject({ kind: 'granted' });
  }
});

test('the snapshot tells since when the call has waited that has waited longest, at each node above it', async () => {
  const teams = [node('quota:team/a', 'account'), node('quota:team/b', 'account')];
  await rules.engine.configure([node('account', null, { concurrency: 1 }), ...models, ...teams]);
  const grant = await rules.grant('1');
  const oldest = async () => {
    const { nodes } = (await rules.engine.admin.snapshot(rules.treeKey))!;
    const named = new Map(nodes.map(({ name, oldestWaiterMs }) => [name, oldestWaiterMs && oldestWaiterMs - START_MS]));
    return ['account', 'quota:team/a', 'quota:team/b'].map((name) => named.get(name));
  };
  expect(await oldest()).toEqual([null, null, null]);
  await queue('2', { leaf: 'quota:team/a' });
  await rules.engine.advance(1000);
  await queue('3', { leaf: 'quota:team/b', owner: 'pod-2' });
  await rules.engine.advance(1000);
  await queue('4', { leaf: 'quota:team/b', owner: 'pod-3' });
  expect(await oldest()).toEqual([0, 0, 1000]);
  await rules.engine.sidecar.cancel('3');
  expect(await oldest()).toEqual([0, 0, 2000]);
  await rules.settle(grant);
  expect(await oldest()).toEqual([2000, null, 2000]);
});
