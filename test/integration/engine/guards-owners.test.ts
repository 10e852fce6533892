/** Guards of owners and of what they register (T1, T3, T4, T7), each found missing a test by `test/proof/mutation`. */
import { expect, test } from 'vitest';
import { decodeMeta } from '#sidecar/engine/ledger/records.ts';
import type { Grant } from '#sidecar/engine/terms.ts';
import { limit, node, NOTHING, request, START_MS, TREE_KEY, treeOf } from '#test/support/engine.ts';
import { useEngine } from './fixture.ts';
import { ref, useOwners } from './waiting-fixture.ts';
import { models } from './waiting-room.ts';

const rules = useEngine();
const { beat, pass } = useOwners(rules);
const OPEN = [node('account', null)];

/** Registers what runs, as the owner of a lease does after Redis lost it. */
const register = async (grant: Grant, asked: Parameters<typeof request>[1] = {}): Promise<unknown> => {
  const leases = [{ lease: ref(grant), request: request(grant.id, asked), sent: true }];
  return rules.engine.sidecar.register({ owner: asked.owner ?? 'pod-1', leases, disclaimed: [] });
};
const tokens = [limit('tokens', 1000, { resource: 'Tokens', window: { type: 'Fixed', durationMs: 3_600_000 } })];

test('T1 a clock that is set back by more than 5 s is counted', async () => {
  await rules.engine.configure(OPEN);
  const steps = async (backMs: number): Promise<number> => {
    await rules.engine.advance(-backMs);
    await rules.engine.sidecar.tick();
    const state = await rules.engine.redis.hgetBuffer(`q:{${TREE_KEY}}:m`, 'state3');
    return decodeMeta(state ?? Buffer.alloc(0)).steps;
  };
  expect(await steps(5000)).toBe(0);
  expect(await steps(5001)).toBe(1);
});

test('T3 a settlement is no sign of life of its owner', async () => {
  await rules.engine.configure(OPEN);
  const settled = await rules.grant('settles', { owner: 'pod-1' });
  await rules.grant('1', { owner: 'pod-1' });
  await rules.grant('2', { owner: 'pod-2' });
  const leases = [await rules.grant('3', { owner: 'pod-3' })];
  await pass(10_000, { 'pod-3': { leases } });
  await rules.settle(settled);
  await pass(5000, { 'pod-3': { leases } });
  // Two of three are silent: that may be the network's fault.
  expect(await rules.inFlight('account')).toBe(3);
});

test('F4 who holds nothing any more is no owner that a share is divided by', async () => {
  await rules.engine.configure(OPEN);
  const leases = [await rules.grant('1')];
  await rules.settle(await rules.grant('2', { owner: 'pod-2' }));
  expect(await beat('pod-1', { leases })).toMatchObject({ owners: 1 });
});

test('T4 a call that runs on after its lease expired, and whose lease expires again, is charged once', async () => {
  await rules.engine.configure([node('account', null, { limits: tokens })]);
  const reserve = { ...NOTHING, inputTokens: 100 };
  const grant = await rules.grant('1', { reserve });
  await pass(20_000);
  await register(grant, { reserve });
  expect(await rules.inFlight('account')).toBe(1);
  await pass(20_000);
  expect(await rules.inFlight('account')).toBe(0);
  expect(await rules.usage('account', 'tokens')).toMatchObject({ used: 100, reserved: 0 });
  expect(await rules.settle(grant, { actual: reserve })).toMatchObject({ late: true });
  expect(await rules.inFlight('account')).toBe(0);
  expect(await rules.drifts()).toEqual([]);
});

test('T2 a call that is claimed twice counts as sent once', async () => {
  await rules.engine.configure(OPEN);
  const grant = await rules.grant('1');
  for (const _twice of [1, 2]) expect(await rules.engine.sidecar.claim(ref(grant))).toBe(true);
  expect(await rules.drifts()).toEqual([]);
});

test('T2 a slot that was handed over and given back unheard leaves nothing that counts as not sent', async () => {
  await rules.engine.configure([node('account', null, { concurrency: 1 }), ...models]);
  const grant = await rules.grant('1');
  await rules.acquire('2', { wait: { mode: 'UntilSlot', maxWaitMs: 60_000 } });
  await rules.settle(grant);
  await rules.engine.sidecar.cancel('2');
  expect(await rules.inFlight('account')).toBe(0);
  expect(await rules.drifts()).toEqual([]);
});

test('T4 an id may be used again after ten minutes, pruned or not', async () => {
  await rules.engine.configure(OPEN);
  await rules.engine.sidecar.cancel('1');
  await rules.engine.advance(599_999);
  expect(await rules.acquire('1')).toEqual({ kind: 'done' });
  await rules.engine.advance(1);
  expect(await rules.acquire('1')).toMatchObject({ kind: 'granted' });
});

test('T7 an owner that is missing keeps all waiting past the least time, until it registers', async () => {
  await rules.engine.configure(OPEN);
  const grant = await rules.grant('1');
  await rules.engine.restartAs('another');
  await rules.engine.sidecar.tick();
  const endsAtMs = rules.engine.nowMs + 20_000;
  await rules.engine.advance(8000);
  expect(await rules.acquire('2', { owner: 'pod-2' })).toMatchObject({ reason: 'Learning', retryAtMs: endsAtMs });
  await register(grant);
  expect(await rules.acquire('3', { owner: 'pod-2' })).toMatchObject({ kind: 'granted' });
});

test('T7 an owner whose first grant came after the loss is not missing', async () => {
  await rules.engine.configure(OPEN);
  await rules.engine.restartAs('another');
  await rules.engine.sidecar.tick();
  await rules.engine.advance(7500);
  await rules.grant('1');
  expect(await rules.acquire('2')).toMatchObject({ kind: 'granted' });
});

test('T7 a tree that Redis still has is not learnt anew because its operator thought it lost', async () => {
  await rules.engine.configure(OPEN);
  const revision = { leaseCreatedMs: START_MS, transitions: 0, generation: 2 };
  await rules.engine.admin.configure(treeOf(OPEN), revision, { lost: true });
  expect(await rules.acquire('1', { generation: 2 })).toMatchObject({ kind: 'granted' });
});

/** A lease that Redis has forgotten, together with the rest. */
async function forgotten(nodes: Parameters<typeof rules.engine.configure>[0], fence = 0): Promise<Grant> {
  await rules.engine.configure(nodes);
  const grant = await rules.grant('1');
  await rules.engine.wipe();
  await rules.engine.configure(nodes);
  return { ...grant, fence: Math.max(grant.fence, fence) };
}

test('T7 a call whose leaf is gone is put back on the account at least', async () => {
  const grant = await forgotten([node('account', null, { concurrency: 1 }), ...models]);
  await register(grant, { leaf: 'quota:gone', generation: 2 });
  expect(await rules.inFlight('account')).toBe(1);
  expect(await rules.acquire('2', { generation: 2 })).toMatchObject({ reason: 'Concurrency' });
});

test('T7, W6 a call that is put back has no higher class than its path allows', async () => {
  const leaf = node('quota:low', 'account', { maxClass: 'Low' });
  const grant = await forgotten([node('account', null, { concurrency: 2 }), ...models, leaf]);
  await register(grant, { leaf: 'quota:low', class: 'System', generation: 2 });
  // One of two slots is what class System may have.
  expect(await rules.acquire('2', { class: 'System', generation: 2 })).toMatchObject({ kind: 'granted' });
});

test('T7 the fence of a call that is put back is not given to another', async () => {
  const grant = await forgotten(OPEN, START_MS * 1000 + 1_000_000);
  await register(grant, { generation: 2 });
  expect((await rules.grant('2', { generation: 2 })).fence).toBeGreaterThan(grant.fence);
});

test('T6 a process is not reclaimed with those of its name that came before it', async () => {
  await rules.engine.configure(OPEN);
  await rules.grant('1', { owner: 'pod-1/before' });
  const leases = [await rules.grant('2', { owner: 'pod-1/now' })];
  const owners = { prefix: 'pod-1/', except: 'pod-1/now' };
  expect(await rules.engine.admin.reclaim(rules.treeKey, owners)).toEqual({ leases: 1, waiters: 0 });
  expect(await beat('pod-1/now', { leases })).toMatchObject({ lost: [] });
});
