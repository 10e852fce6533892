/** What callers can make of the waiting room: more than their share of it, more work at once, or more of it than who waits. */
import { expect, test } from 'vitest';
import { ENGINE_CONSTANTS } from '#sidecar/engine/constants.ts';
import { functionKeys } from '#sidecar/engine/keys.ts';
import { node } from '#test/support/engine.ts';
import { useEngine } from './fixture.ts';
import { models, useWaitingRoom } from './waiting-room.ts';

const rules = useEngine();
const { fates, queue, serveAll } = useWaitingRoom(rules);
const { KEPT_REAP_BUDGET, LATE_MS, WAITER_REAP_BUDGET } = ENGINE_CONSTANTS;
const LONG = { mode: 'UntilWindow', maxWaitMs: 3_600_000 } as const;
const SHORT = { mode: 'UntilWindow', maxWaitMs: 1000 } as const;

async function oneSlot(): Promise<void> {
  await rules.engine.configure([node('account', null, { concurrency: 1 }), ...models]);
}

/** Members and fields of all keys of the tree, but the ledger's and finished ids. */
async function held(): Promise<number> {
  const { redis } = rules.engine;
  const [meta, nodes, leases, expiries, late, _done, owners, ...room] = functionKeys(rules.treeKey);
  const sizes = [meta!, nodes!, leases!, expiries!, late!, owners!, ...room.slice(0, -1)].map(async (key) => {
    switch (await redis.type(key)) {
      case 'hash':
        return redis.hlen(key);
      case 'zset':
        return redis.zcard(key);
      default:
        return 0;
    }
  });
  return (await Promise.all(sizes)).reduce((sum, size) => sum + size, 0);
}

/** Those of the named that still wait. */
async function waitersOf(ids: readonly string[]): Promise<readonly string[]> {
  const fields = await rules.engine.redis.hkeys(functionKeys(rules.treeKey)[7]!);
  return ids.filter((id) => fields.includes(id));
}

test('Q1, Q2 a caller that varies its attributes has one share behind a full inner node', async () => {
  await rules.engine.configure([
    node('account', null, { concurrency: 9 }),
    ...models,
    node('quota:team', 'account', { concurrency: 1 }),
    node('quota:varied', 'quota:team'),
    node('quota:plain', 'quota:team'),
  ]);
  const first = await rules.grant('0', { leaf: 'quota:team' });
  const waiting = ['varied', 'plain'].flatMap((name) =>
    Array.from({ length: 20 }, (_, index) => ({ id: `${name} ${index}`, owner: name, leaf: `quota:${name}`, index })),
  );
  for (const { id, owner, leaf, index } of waiting)
    await queue(id, { owner, leaf, attributes: leaf === 'quota:varied' ? { user: `user-${index}` } : {} });
  const order = (await serveAll(first, waiting)).map((id) => id.split(' ')[0]);
  expect(order.slice(0, 20).filter((name) => name === 'plain')).toHaveLength(10);
});

test('Q2 calls that were cancelled while they were parked cost their flow nothing', async () => {
  await rules.engine.configure([
    node('account', null, { concurrency: 9 }),
    ...models,
    node('quota:team', 'account', { concurrency: 1 }),
    node('quota:varied', 'quota:team'),
    node('quota:plain', 'quota:team'),
  ]);
  const first = await rules.grant('0', { leaf: 'quota:team' });
  await queue('plain 0', { owner: 'plain', leaf: 'quota:plain' });
  for (let index = 0; index < 20; index += 1) {
    await queue(`left ${index}`, { owner: 'varied', leaf: 'quota:varied', attributes: { user: `user-${index}` } });
    await rules.engine.sidecar.cancel(`left ${index}`);
  }
  for (const id of ['varied 1', 'varied 2']) await queue(id, { owner: 'varied', leaf: 'quota:varied' });
  for (const id of ['plain 1', 'plain 2']) await queue(id, { owner: 'plain', leaf: 'quota:plain' });
  const waiting = ['plain 0', 'varied 1', 'plain 1', 'varied 2', 'plain 2'].map((id) => ({
    id,
    owner: id.split(' ')[0]!,
  }));
  expect(await serveAll(first, waiting)).toEqual(waiting.map(({ id }) => id));
});

test('Q2 who asks for one call at a time behind a full inner node owes what it had all the same', async () => {
  await rules.engine.configure([
    node('account', null, { concurrency: 9 }),
    ...models,
    node('quota:team', 'account', { concurrency: 1 }),
    node('quota:heavy', 'quota:team', { weight: 8 }),
    node('quota:light', 'quota:team'),
  ]);
  let holder = await rules.grant('0', { leaf: 'quota:team' });
  const heavy = Array.from({ length: 20 }, (_, index) => `heavy ${index}`);
  for (const id of heavy) await queue(id, { owner: 'heavy', leaf: 'quota:heavy' });
  const order: string[] = [];
  let light = '';
  for (let turn = 0; turn < 18; turn += 1) {
    // Others are served elsewhere: on the whole, nobody here is ahead.
    for (const name of ['x', 'y', 'z']) await rules.settle(await rules.grant(`${name} ${turn}`));
    if (light === '') await queue((light = `light ${turn}`), { owner: 'light', leaf: 'quota:light' });
    await rules.settle(holder);
    for (const fate of [...(await fates('heavy', ...heavy)).values(), ...(await fates('light', light)).values()]) {
      if (fate.kind !== 'granted' || order.includes(fate.id)) continue;
      order.push(fate.id);
      holder = fate.grant;
    }
    if (order.includes(light)) light = '';
  }
  expect(order.filter((id) => id.startsWith('light')).length).toBeLessThanOrEqual(3);
});

test('inv-L4 of waiters whose time is over together each call denies some, the longest late first, and the next is due at once', async () => {
  await oneSlot();
  await rules.grant('holder');
  const ids = Array.from({ length: 3 * WAITER_REAP_BUDGET }, (_, index) => `late ${index}`);
  for (const id of ids) {
    await queue(id, { wait: SHORT });
    await rules.engine.advance(1);
  }
  await rules.engine.advance(1000);
  for (let denied = WAITER_REAP_BUDGET; denied <= ids.length; denied += WAITER_REAP_BUDGET) {
    const { serverNowMs, nextTickMs } = await rules.engine.sidecar.tick();
    expect(nextTickMs).toBe(denied < ids.length ? serverNowMs : null);
    expect(await waitersOf(ids)).toEqual(ids.slice(denied));
  }
  const told = await fates('pod-1', ...ids);
  expect(ids.filter((id) => told.get(id)?.kind === 'denied')).toEqual(ids);
});

test('turns of owners that come, wait and go do not pile up while others wait', async () => {
  await oneSlot();
  await rules.grant('holder');
  await queue('stays', { wait: LONG });
  const before = await held();
  for (let pod = 0; pod < 100; pod += 1) {
    await queue(`call ${pod}`, { owner: `gone-${pod}/1`, wait: SHORT });
    await rules.engine.sidecar.cancel(`call ${pod}`);
  }
  await rules.engine.advance(1000);
  await rules.engine.sidecar.beat({ owner: 'pod-1', epoch: null, leases: [], waiters: ['stays'] });
  expect(await held()).toBe(before);
  expect(await rules.drifts()).toEqual([]);
});

test('what is kept of many who left together is forgotten some a call, and the next is due at once', async () => {
  await oneSlot();
  await rules.grant('holder');
  await queue('stays', { wait: LONG });
  const before = await held();
  for (let pod = 0; pod < 300; pod += 1) {
    await queue(`call ${pod}`, { owner: `gone-${pod}/1`, wait: SHORT });
    await rules.engine.sidecar.cancel(`call ${pod}`);
  }
  await rules.engine.advance(1000);
  const { serverNowMs, nextTickMs } = await rules.engine.sidecar.tick();
  // A field and when it ends, each.
  expect(await held()).toBe(before + 2 * (300 - KEPT_REAP_BUDGET));
  expect(nextTickMs).toBe(serverNowMs);
  expect(await rules.engine.sidecar.tick()).toMatchObject({ nextTickMs: null });
  expect(await held()).toBe(before);
});

test('a denial is told although an older one of the same id ends in the same call', async () => {
  await oneSlot();
  await rules.grant('holder');
  await queue('id', { wait: SHORT });
  await rules.engine.advance(1000);
  await rules.engine.sidecar.tick();
  await queue('id', { owner: 'pod-2', wait: SHORT });
  await rules.engine.advance(60_000);
  await rules.engine.sidecar.tick();
  expect((await fates('pod-2', 'id')).get('id')).toMatchObject({ kind: 'denied' });
});

test('a reclaimed process leaves nothing in the waiting room, and those who stay keep their turns', async () => {
  await oneSlot();
  const first = await rules.grant('holder', { owner: 'pod-1/1' });
  for (const id of ['a', 'b']) await queue(id, { owner: 'pod-1/1', wait: LONG });
  const before = await held();
  for (const id of ['c', 'd']) await queue(id, { owner: 'pod-2/1', wait: LONG });
  await rules.engine.sidecar.cancel('d');
  await rules.engine.admin.reclaim(rules.treeKey, { prefix: 'pod-2/', except: null });
  expect(await held()).toBe(before);
  await queue('e', { owner: 'pod-3/1', wait: LONG });
  await queue('f', { owner: 'pod-1/1', wait: LONG });
  const waiting = ['a', 'b', 'e', 'f'].map((id) => ({ id, owner: id === 'e' ? 'pod-3/1' : 'pod-1/1' }));
  expect(await serveAll(first, waiting)).toEqual(['a', 'e', 'b', 'f']);
});

test('the mark of a draining process ends by itself 10 minutes after nothing of it was left, and is forgotten', async () => {
  await oneSlot();
  const { admin } = rules.engine;
  const all = { prefix: 'pod-2/', except: null };
  const marks = async () =>
    (await rules.engine.redis.hkeys(functionKeys(rules.treeKey)[0])).filter((name) => name.startsWith('d:'));
  await rules.grant('1', { owner: 'pod-2/1' });
  await admin.drain(rules.treeKey, 'pod-2', true);
  expect(await admin.reclaim(rules.treeKey, all)).toEqual({ leases: 1, waiters: 0 });
  await rules.engine.advance(1);
  expect(await admin.reclaim(rules.treeKey, all)).toEqual({ leases: 0, waiters: 0 });
  await rules.engine.advance(LATE_MS - 1);
  expect(await rules.acquire('2', { owner: 'pod-2/1' })).toMatchObject({ kind: 'denied', reason: 'Draining' });
  await admin.reclaim(rules.treeKey, { prefix: 'pod-3/', except: null });
  expect(await marks()).toEqual(['d:pod-2']);
  await rules.engine.advance(1);
  expect(await rules.acquire('3', { owner: 'pod-2/1' })).toMatchObject({ kind: 'granted' });
  await admin.reclaim(rules.treeKey, { prefix: 'pod-3/', except: null });
  expect(await marks()).toEqual([]);
});

test('T5 who comes back to a flow that everybody left meanwhile stands before those who came since', async () => {
  await oneSlot();
  const first = await rules.grant('holder', { owner: 'pod-9' });
  for (const id of ['1', '2', '3']) await queue(id, { place: id });
  for (const id of ['1', '2', '3']) await rules.engine.sidecar.cancel(id, { keepPlace: true });
  for (const id of ['4', '5']) await queue(id, { owner: 'pod-2' });
  await queue('3 again', { place: '3' });
  const waiting = ['4', '5', '3 again'].map((id) => ({ id, owner: id === '3 again' ? 'pod-1' : 'pod-2' }));
  expect(await serveAll(first, waiting)).toEqual(['3 again', '4', '5']);
});
