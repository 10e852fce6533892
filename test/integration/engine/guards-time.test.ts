/** Guards of time and leases (T2 to T7), each found missing a test by `test/proof/mutation`. */
import { expect, test } from 'vitest';
import type { Grant } from '#sidecar/engine/terms.ts';
import { limit, node, ONE, request, settlement } from '#test/support/engine.ts';
import { useEngine } from './fixture.ts';
import { ref, useOwners } from './waiting-fixture.ts';
import { models, useWaitingRoom, WAIT } from './waiting-room.ts';

const rules = useEngine();
const { wait, queue, served } = useWaitingRoom(rules);
const { beat, stillWaits, pass } = useOwners(rules);

const limitOf = async (name: string) =>
  (await rules.engine.sidecar.snapshot())?.nodes.find((each) => each.name === name)?.concurrency;
const key = (suffix: string): string => `q:{${rules.treeKey}}:${suffix}`;

/** Learns `adaptive` on the model, and has four calls there: two direct ones and two out of the queue. */
async function handedOff(): Promise<void> {
  const adaptive = { concurrency: 8, adaptive: { min: 1, start: 4 } };
  await rules.engine.configure([node('account', null), { ...models[0], ...adaptive }, models[1], models[2]]);
  const direct = [];
  for (const id of ['a', 'b', 'c', 'd']) direct.push(await rules.grant(id));
  await queue('e', { owner: 'pod-2' });
  await queue('f', { owner: 'pod-2' });
  for (const grant of direct.slice(0, 2)) await rules.settle(grant);
}

/** Of one call at a time on a model with one slot: '2' has just been handed the slot of '1'. */
async function handedOver(): Promise<Grant> {
  await rules.engine.configure([node('account', null), { ...models[0], concurrency: 1 }, models[1], models[2]]);
  const first = await rules.grant('1');
  await queue('2');
  await rules.settle(first);
  return served('2');
}

test('T2 a claim extends the lease by its whole lifetime', async () => {
  await rules.engine.configure([node('account', null)]);
  const grant = await rules.grant('1');
  await pass(14_000);
  expect(await rules.engine.sidecar.claim(ref(grant))).toBe(true);
  await pass(14_000);
  expect(await rules.inFlight('account')).toBe(1);
});

test.each([
  ['claim', async (grant: Grant) => rules.engine.sidecar.claim(ref(grant))],
  ['beat', async (grant: Grant) => beat('pod-2', { leases: [grant] })],
])('T2, Q7 a call counts as sent from its %s on, and a decrease counts sent calls only', async (_first, send) => {
  await handedOff();
  const claimed = await wait('e', { owner: 'pod-2' });
  if (claimed.kind !== 'granted') throw new Error('e was not handed a slot');
  await send(claimed);
  await rules.settle(claimed, { outcome: 'refusedConcurrency', sentAfterMs: 1000, firstByteAfterMs: 1000 });
  // Three of four were sent; the refused one was one too many.
  expect(await limitOf('model:glm-5.3')).toBe(2);
});

test('T2 a slot that is handed to nobody who listens is free again after 13 s', async () => {
  await rules.engine.configure([node('account', null, { concurrency: 1 }), ...models]);
  const grant = await rules.grant('1');
  await queue('2', { owner: 'pod-2' });
  await rules.settle(grant);
  await pass(13_000);
  expect(await rules.inFlight('account')).toBe(0);
});

test('T3 a lease that had expired before the gap, but was not looked at, is reaped at once', async () => {
  await rules.engine.configure([node('account', null)]);
  for (let call = 0; call < 17; call++) await rules.grant(`c${call}`);
  await pass(15_000);
  // One call reaps at most 16.
  expect(await rules.inFlight('account')).toBe(1);
  await rules.engine.advance(8000);
  await rules.engine.sidecar.tick();
  expect(await rules.inFlight('account')).toBe(0);
});

test('T3 half of the owners silent is not most of them', async () => {
  await rules.engine.configure([node('account', null)]);
  const grants = [];
  for (const owner of ['pod-1', 'pod-2', 'pod-3', 'pod-4']) grants.push(await rules.grant(`of ${owner}`, { owner }));
  await pass(15_000, { 'pod-3': { leases: [grants[2]!] }, 'pod-4': { leases: [grants[3]!] } });
  expect(await rules.inFlight('account')).toBe(2);
});

test('T3 after a gap a waiter has time to be heard of', async () => {
  await rules.engine.configure([node('account', null, { concurrency: 1 }), ...models]);
  await rules.grant('1');
  await queue('2');
  await rules.engine.advance(17_000);
  await rules.engine.sidecar.tick();
  await stillWaits('2');
});

test('T4 a settlement that comes too late is unknown, whether its record is pruned yet or not', async () => {
  await rules.engine.configure([node('account', null)]);
  const grant = await rules.grant('1', { maxRuntimeMs: 60_000 });
  await pass(20_000);
  await rules.engine.advance(660_000);
  expect(await rules.settle(grant)).toEqual({ kind: 'unknown' });
});

test('T4 what nobody may settle any more is forgotten', async () => {
  await rules.engine.configure([node('account', null)]);
  await rules.grant('expires', { maxRuntimeMs: 0 });
  await rules.settle(await rules.grant('ends'));
  await pass(20_000);
  await rules.engine.advance(600_000);
  await rules.engine.sidecar.tick();
  expect(await rules.engine.redis.hlen(key('l'))).toBe(0);
  // Of the last one it is remembered only that somebody asked while time passed.
  expect(await rules.engine.redis.zscore(key('d'), 'ends')).toBeNull();
});

test('T4 an id that is granted again long after its lease was lost keeps its new lease', async () => {
  await rules.engine.configure([node('account', null)]);
  await rules.grant('1', { maxRuntimeMs: 60_000 });
  await pass(20_000);
  await rules.engine.advance(700_000);
  const again = await rules.grant('1');
  await rules.engine.sidecar.tick();
  expect(await rules.settle(again)).toMatchObject({ kind: 'settled', late: false });
});

test('T4 nobody disclaims the waiter of somebody else', async () => {
  await rules.engine.configure([node('account', null, { concurrency: 1 }), ...models]);
  await rules.grant('1');
  await queue('2');
  await rules.engine.sidecar.register({ owner: 'pod-2', leases: [], disclaimed: ['2'] });
  await stillWaits('2');
});

test('T5 a place is kept for 30 s, not longer', async () => {
  await rules.engine.configure([node('account', null, { concurrency: 1 }), ...models]);
  const holder = await rules.grant('1');
  await queue('2', { place: 'a place' });
  await queue('3');
  await rules.engine.sidecar.cancel('2', { keepPlace: true });
  await pass(29_900, { 'pod-1': { leases: [holder], waiters: ['3'] } });
  await rules.engine.advance(100);
  expect(await wait('4', { place: 'a place' })).toMatchObject({ position: 2 });
});

test('T5 a kept place is one of its own sub-queue, and is taken once', async () => {
  await rules.engine.configure([node('account', null, { concurrency: 1 }), ...models]);
  await rules.grant('1');
  await queue('2', { place: 'a place' });
  await queue('3');
  await queue('of another model', { model: 'glm-4' });
  await rules.engine.sidecar.cancel('2', { keepPlace: true });
  expect(await wait('4', { place: 'a place', model: 'glm-4' })).toMatchObject({ position: 2 });
  expect(await wait('5', { place: 'a place' })).toMatchObject({ position: 1 });
  expect(await wait('6', { place: 'a place' })).toMatchObject({ position: 3 });
});

test('T6 a call that is refused and comes again leaves its slot held for the hold', async () => {
  await rules.engine.configure([node('account', null, { concurrency: 1 }), ...models]);
  const grant = await rules.grant('1');
  const refused = settlement('1', grant.fence, { outcome: 'refusedConcurrency', holdMs: 2000 });
  const swapped = await rules.engine.sidecar.swap(refused, request('1', { wait: WAIT }));
  expect(swapped.verdict).toMatchObject({ kind: 'queued' });
  expect(await rules.drifts()).toEqual([]);
  await rules.engine.advance(2000);
  expect(await served('1')).toMatchObject({ kind: 'granted' });
});

test('T6 the hold that a refusal taught is kept at every end of a sent call, and fades in ten minutes', async () => {
  const second = await handedOver();
  await rules.settle(second, { outcome: 'refusedConcurrency' });
  await rules.engine.advance(50);
  await rules.settle(await rules.grant('3'), { outcome: 'neverSent' });
  const fourth = await rules.grant('4');
  await rules.settle(fourth);
  expect(await rules.acquire('5')).toMatchObject({ reason: 'Concurrency' });
  await rules.engine.advance(600_000);
  await rules.settle(await rules.grant('6'));
  expect(await rules.acquire('7')).toMatchObject({ kind: 'granted' });
});

test('T6 a second refusal soon after the first raises the hold only for a call of after the first', async () => {
  await rules.settle(await handedOver(), { outcome: 'refusedConcurrency' });
  const holdMs = async (id: string): Promise<number> => {
    await rules.engine.advance(1000);
    const holder = await rules.grant(id);
    await queue(`${id} then`);
    await rules.settle(holder);
    await rules.engine.advance(1000);
    await rules.settle(await served(`${id} then`), { outcome: 'refusedConcurrency' });
    for (let heldMs = 0; ; heldMs += 50) {
      const verdict = await rules.acquire(`${id} ${heldMs}`);
      if (verdict.kind === 'granted') {
        await rules.settle(verdict, { outcome: 'neverSent' });
        return heldMs;
      }
      await rules.engine.advance(50);
    }
  };
  // One slot cannot be fewer: the hold alone may help.
  expect(await holdMs('a')).toBe(100);
});

test('T6 a second refusal soon after the first lowers a limit that can be lower, and leaves the hold', async () => {
  await handedOff();
  for (const id of ['e', 'f']) {
    const grant = await wait(id, { owner: 'pod-2' });
    if (grant.kind !== 'granted') throw new Error(`${id} was not handed a slot`);
    await rules.settle(grant, { outcome: 'refusedConcurrency' });
  }
  await rules.engine.advance(50);
  expect(await rules.inFlight('model:glm-5.3')).toBe(2);
});

test('T6 a refusal long after its hand-off does not blame the hold', async () => {
  const second = await handedOver();
  await rules.settle(second, { outcome: 'refusedConcurrency', sentAfterMs: 501, firstByteAfterMs: 501 });
  expect(await rules.inFlight('model:glm-5.3')).toBe(0);
});

test('T6 a refusal with more in flight than the limit does not blame the hold', async () => {
  await handedOff();
  const grants = [await wait('e', { owner: 'pod-2' }), await wait('f', { owner: 'pod-2' })];
  const [first, second] = grants;
  if (first?.kind !== 'granted' || second?.kind !== 'granted') throw new Error('no slots were handed over');
  await rules.settle(first, { outcome: 'refusedConcurrency', sentAfterMs: 1000, firstByteAfterMs: 1000 });
  expect(await limitOf('model:glm-5.3')).toBe(1);
  await rules.settle(second, { outcome: 'refusedConcurrency' });
  expect(await rules.inFlight('model:glm-5.3')).toBe(2);
});

test.each([
  ['expired', async () => pass(20_000)],
  ['was reclaimed', async () => rules.engine.admin.reclaim(rules.treeKey, { prefix: 'pod-1', except: null })],
])('T7 a call whose lease %s and that runs on holds its slot again, once', async (_how, lose) => {
  await rules.engine.configure([node('account', null, { limits: [limit('five-hour', 5)] })]);
  const grant = await rules.grant('1');
  await lose();
  const leases = [{ lease: ref(grant), request: request('1'), sent: true }];
  await rules.engine.sidecar.register({ owner: 'pod-1', leases, disclaimed: [] });
  expect(await rules.inFlight('account')).toBe(1);
  expect(await beat('pod-1', { leases: [grant] })).toMatchObject({ lost: [] });
  expect(await rules.drifts()).toEqual([]);
});

test('T7 a call that is put back takes no token of a rate', async () => {
  const nodes = [node('account', null, { rate: { intervalUs: 60_000_000, burst: 1 } })];
  await rules.engine.configure(nodes);
  const grant = await rules.grant('1', { reserve: ONE });
  await rules.engine.wipe();
  await rules.engine.configure(nodes);
  const leases = [{ lease: ref(grant), request: request('1', { generation: 2 }), sent: true }];
  await rules.engine.sidecar.register({ owner: 'pod-1', leases, disclaimed: [] });
  expect(await rules.inFlight('account')).toBe(1);
  expect(await rules.acquire('2', { generation: 2 })).toMatchObject({ kind: 'granted' });
});
