/** The waiting room on a real Redis: retries, classes, swaps, cancelled and silent waiters (rules Q7 to Q9, T5, W6, N4). */
import { expect, test } from 'vitest';
import type { PriorityClass } from '#sidecar/engine/tree-terms.ts';
import { HELD, limit, node, request, settlement } from '#test/support/engine.ts';
import { useEngine } from './fixture.ts';
import { models, useWaitingRoom, WAIT } from './waiting-room.ts';

const rules = useEngine();
const { fates, queue, served, serveAll, wait } = useWaitingRoom(rules);

test('Q7 a refused call goes back to the head of its flow with its slot freed and its window refunded', async () => {
  const window = limit('five-hour', 10);
  await rules.engine.configure([node('account', null, { concurrency: 1, limits: [window] }), ...models]);
  const grant = await rules.grant('1');
  await queue('2');
  const next = request('1', { wait: WAIT });
  const refused = settlement('1', grant.fence, { outcome: 'refusedRate' });
  const swapped = await rules.engine.sidecar.swap(refused, next);
  expect(swapped).toMatchObject({ settled: { kind: 'settled' }, verdict: { kind: 'queued' } });
  await rules.engine.advance(2000);
  await rules.engine.sidecar.tick();
  expect(await rules.usage('account', 'five-hour')).toMatchObject({ reserved: 1, used: 0 });
  expect([...(await fates('pod-1', '1', '2')).keys()]).toEqual(['1']);
});

test('Q8 class System has half the slots at most, and at one slot every second grant', async () => {
  await rules.engine.configure([node('account', null, { concurrency: 4 }), ...models]);
  const system = { class: 'System' as PriorityClass };
  await rules.grant('s1', system);
  await rules.grant('s2', system);
  expect(await rules.acquire('s3', system)).toMatchObject({ reason: 'Waiting', limit: 'system', used: 2, amount: 2 });
  expect(await rules.acquire('n1')).toMatchObject({ kind: 'granted' });
});

test('Q8 with one slot class System and the others alternate', async () => {
  await rules.engine.configure([node('account', null, { concurrency: 1 }), ...models]);
  const first = await rules.grant('0');
  const waiting = ['s1', 's2', 's3', 'n1', 'n2', 'n3'].map((id) => ({ id, owner: 'pod-1' }));
  for (const { id } of waiting) await queue(id, { class: id.startsWith('s') ? 'System' : 'Normal' });
  const order = await serveAll(first, waiting);
  expect(order.join('')).not.toMatch(/s\ds\d.*n/);
});

test('Q9 swap never jumps the queue', async () => {
  await rules.engine.configure([node('account', null, { concurrency: 1 }), ...models]);
  const grant = await rules.grant('1');
  await queue('2', { owner: 'pod-2' });
  const swapped = await rules.engine.sidecar.swap(settlement('1', grant.fence), request('3', { wait: WAIT }));
  expect(swapped).toMatchObject({ settled: { kind: 'settled' }, verdict: { kind: 'queued' } });
  expect(await served('2', 'pod-2')).toMatchObject({ kind: 'granted' });
});

test('T5 a cancelled waiter leaves at once, and finds its place again within 30 s', async () => {
  await rules.engine.configure([node('account', null, { concurrency: 1 }), ...models]);
  await rules.grant('1');
  await queue('2', { place: 'the same call' });
  await queue('3');
  await rules.engine.sidecar.cancel('2', { keepPlace: true });
  expect(await wait('3')).toMatchObject({ position: 1 });
  expect(await wait('4', { place: 'the same call' })).toMatchObject({ kind: 'queued', position: 1 });
  expect(await wait('3')).toMatchObject({ position: 2 });
});

test('inv-I6 a cancelled waiter is never granted, also if its acquire comes after the cancel', async () => {
  await rules.engine.configure([node('account', null, { concurrency: 1 }), ...models]);
  await rules.engine.sidecar.cancel('late');
  expect(await wait('late')).toEqual({ kind: 'done' });
});

test('inv-L4 a waiter past its deadline is denied with what it waited for', async () => {
  await rules.engine.configure([node('account', null, { concurrency: 1 }), ...models]);
  await rules.grant('1');
  await queue('2', { wait: { mode: 'UntilWindow', maxWaitMs: 3000 } });
  await rules.engine.advance(3000);
  expect((await fates('pod-1', '2')).get('2')).toMatchObject({
    kind: 'denied',
    denial: { reason: 'Concurrency', node: 'account' },
  });
});

test('a waiter whose owner is silent for three beats leaves, so that grants rarely go to the dead', async () => {
  await rules.engine.configure([node('account', null, { concurrency: 1 }), ...models]);
  const grant = await rules.grant('1', { owner: 'pod-2' });
  await queue('dead');
  const leases = [{ id: grant.id, fence: grant.fence, epoch: grant.epoch }];
  for (let passed = 0; passed < 20_000; passed += 5000) {
    await rules.engine.advance(5000);
    await rules.engine.sidecar.beat({ owner: 'pod-2', epoch: null, leases, waiters: [] });
  }
  expect(await fates('pod-1', 'dead')).toEqual(new Map());
  expect(await rules.settle(grant)).toMatchObject({ kind: 'settled' });
  expect(await rules.inFlight('account')).toBe(0);
});

test('a full queue refuses at once and says whose it is', async () => {
  await rules.engine.configure([
    node('account', null, { concurrency: 1, maxQueue: 2 }),
    ...models,
    node('quota:a', 'account', { maxQueue: 1 }),
  ]);
  await rules.grant('1');
  await queue('2', { leaf: 'quota:a' });
  expect(await wait('3', { leaf: 'quota:a' })).toMatchObject({
    reason: 'QueueFull',
    node: 'quota:a',
    used: 1,
    amount: 1,
  });
  await queue('4');
  expect(await wait('5')).toMatchObject({ reason: 'QueueFull', node: 'account' });
});

test('W6 a call has no higher class than its path allows', async () => {
  await rules.engine.configure([
    node('account', null, { concurrency: 1 }),
    ...models,
    node('quota:low', 'account', { maxClass: 'Low' }),
    node('quota:high', 'account'),
  ]);
  const grant = await rules.grant('0');
  const waiting = [
    { id: 'low1', owner: 'pod-1' },
    { id: 'low2', owner: 'pod-1' },
    { id: 'high1', owner: 'pod-1' },
    { id: 'high2', owner: 'pod-1' },
  ];
  for (const { id } of waiting)
    await queue(id, { class: 'High', leaf: id.startsWith('low') ? 'quota:low' : 'quota:high' });
  expect((await serveAll(grant, waiting)).indexOf('low2')).toBe(3);
});

test('N4 lowering a limit below what is held kills nobody, and denies at once who can no longer be served', async () => {
  await rules.engine.configure([node('account', null, { concurrency: 2 }), ...models]);
  await rules.grant('1');
  await rules.grant('2');
  await queue('3');
  await rules.engine.configure([node('account', null, { concurrency: 1, stops: HELD }), ...models]);
  expect(await rules.inFlight('account')).toBe(2);
  expect((await fates('pod-1', '3')).get('3')).toMatchObject({ kind: 'denied', denial: { reason: 'Stopped' } });
});
