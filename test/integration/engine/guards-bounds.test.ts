/** Numbers and budgets of the engine (F6), each found missing a test by `test/proof/mutation`. */
import { expect, test } from 'vitest';
import { ledgerKey } from '#sidecar/engine/ledger/read.ts';
import { limit, node, START_MS, TREE_KEY, treeOf } from '#test/support/engine.ts';
import { useEngine } from './fixture.ts';
import { useOwners } from './waiting-fixture.ts';
import { models, useWaitingRoom, WAIT, type Waiting } from './waiting-room.ts';

const rules = useEngine();
const { wait, queue, serveAll } = useWaitingRoom(rules);
const { pass } = useOwners(rules);
const TEAM = { leaf: 'quota:team' } as const;

const key = (suffix: string): string => `q:{${rules.treeKey}}:${suffix}`;
const names = (count: number): readonly string[] => Array.from({ length: count }, (_, index) => `call-${index}`);
const queued = async (): Promise<number | undefined> =>
  (await rules.engine.sidecar.snapshot())?.nodes.find(({ name }) => name === 'account')?.queued;

test('T2 a lease that nobody beats for is over after 15 s', async () => {
  await rules.engine.configure([node('account', null)]);
  await rules.grant('1');
  await pass(14_999);
  expect(await rules.inFlight('account')).toBe(1);
  await pass(1);
  expect(await rules.inFlight('account')).toBe(0);
});

test('T7 after a total loss nothing is granted for a lifetime and a beat, 20 s', async () => {
  const revision = { leaseCreatedMs: START_MS, transitions: 0, generation: 1 };
  await rules.engine.admin.configure(treeOf([node('account', null)]), revision, { lost: true });
  await rules.engine.advance(19_999);
  expect(await rules.acquire('1')).toMatchObject({ reason: 'Learning', retryAtMs: START_MS + 20_000 });
  await rules.engine.advance(1);
  expect(await rules.acquire('2')).toMatchObject({ kind: 'granted' });
});

test('Q2 however great its weight, a grant costs a flow its turn', async () => {
  const heavy = node('quota:heavy', 'account', { weight: 1000 });
  await rules.engine.configure([
    node('account', null, { concurrency: 1 }),
    ...models,
    heavy,
    node('quota:heavy/team', 'quota:heavy', { weight: 1000 }),
    node('quota:heavy/team/leaf', 'quota:heavy/team', { weight: 1000 }),
    node('quota:light', 'account'),
  ]);
  const holder = await rules.grant('0');
  const waiting: Waiting[] = ['h1', 'h2', 'l1'].map((id) => ({ id, owner: 'pod-1' }));
  for (const { id } of waiting) await queue(id, { leaf: id.startsWith('h') ? 'quota:heavy/team/leaf' : 'quota:light' });
  expect(await serveAll(holder, waiting)).toEqual(['h1', 'l1', 'h2']);
});

test('the denial of a waiter is kept for 30 s, not longer', async () => {
  await rules.engine.configure([node('account', null, { concurrency: 1 }), ...models]);
  const holder = await rules.grant('1');
  await queue('2', { wait: { ...WAIT, maxWaitMs: 1000 } });
  await rules.engine.advance(1000);
  await rules.engine.sidecar.tick();
  await pass(29_999, { 'pod-1': { leases: [holder] } });
  expect(await wait('2')).toMatchObject({ kind: 'denied' });
  await rules.engine.advance(1);
  expect(await wait('2')).toMatchObject({ kind: 'queued' });
});

test('L1 the ledger of a tree takes 64 MB at most', async () => {
  await rules.engine.configure([node('account', null)]);
  const waiters = names(40).map((name) => name.padEnd(100_000, '.'));
  for (let beat = 0; beat < 9; beat++) {
    await rules.engine.sidecar.beat({ owner: 'pod-1', epoch: null, leases: [], waiters });
  }
  const bytes = async () => Number(await rules.engine.redis.memory('USAGE', ledgerKey(TREE_KEY), 'SAMPLES', 0));
  expect(await bytes()).toBeGreaterThan(64 * 1024 * 1024);
  for (const id of names(64)) await rules.engine.sidecar.cancel(id);
  expect(await bytes()).toBeLessThan(64 * 1024 * 1024);
}, 60_000);

test('F6 one call forgets at most 32 finished ids', async () => {
  await rules.engine.configure([node('account', null)]);
  for (const id of names(40)) await rules.engine.sidecar.cancel(id);
  await rules.engine.advance(600_000);
  await rules.engine.sidecar.tick();
  expect(await rules.engine.redis.zcard(key('d'))).toBe(8);
});

test('F6 one call forgets at most 32 expired leases', async () => {
  await rules.engine.configure([node('account', null)]);
  for (const id of names(40)) await rules.grant(id, { maxRuntimeMs: 0 });
  await pass(25_000);
  await rules.engine.advance(600_000);
  await rules.engine.sidecar.tick();
  expect(await rules.engine.redis.hlen(key('l'))).toBe(8);
});

test('F6 one call ends at most 16 holds', async () => {
  await rules.engine.configure([node('account', null)]);
  for (const id of names(20)) await rules.settle(await rules.grant(id), { holdMs: 1000 });
  await rules.engine.advance(1000);
  await rules.engine.sidecar.tick();
  expect(await rules.engine.redis.zcard(key('z'))).toBe(4);
});

test('F6 one call looks at 32 waiters at most, and wants to be asked again at once for the others', async () => {
  await rules.engine.configure([node('account', null), ...models]);
  await rules.engine.admin.freeze(rules.treeKey, 'account', START_MS + 50_000);
  for (const id of names(80)) await queue(id);
  await rules.engine.admin.freeze(rules.treeKey, 'account', null);
  expect(await queued()).toBe(48);
  expect(await rules.engine.sidecar.tick()).toMatchObject({ nextTickMs: rules.engine.nowMs });
  expect(await queued()).toBe(16);
  expect(await rules.engine.sidecar.tick()).toMatchObject({ nextTickMs: null });
  expect(await queued()).toBe(0);
});

test('F6 one call looks at 32 due timers at most', async () => {
  const rate = { intervalUs: 1_000_000, burst: 1 };
  const leaves = names(80).map((name) => node(`quota:${name}`, 'account', { rate }));
  await rules.engine.configure([node('account', null), ...models, ...leaves]);
  for (const { name } of leaves) await rules.settle(await rules.grant(`${name} first`, { leaf: name }));
  for (const { name } of leaves) await queue(`${name} then`, { leaf: name });
  await rules.engine.advance(1000);
  await rules.engine.redis.config('RESETSTAT');
  await rules.engine.sidecar.tick();
  const stats = await rules.engine.redis.info('commandstats');
  const looks = Number(/cmdstat_zrangebylex:calls=(\d+)/.exec(stats)?.[1]);
  // Thirteen for each of the 32; those whose timer is not looked at yet cost nothing.
  expect(looks).toBeLessThan(33 * 13);
  expect(await queued()).toBe(48);
});

test('F6 one call lets at most 16 silent waiters go', async () => {
  await rules.engine.configure([node('account', null, { concurrency: 1 }), ...models]);
  const holder = await rules.grant('1');
  for (const id of names(20)) await queue(id, { owner: 'pod-2' });
  await pass(15_000, { 'pod-1': { leases: [holder] } });
  await rules.engine.advance(1500);
  await rules.engine.sidecar.tick();
  expect(await queued()).toBe(4);
});

test('F6 one call forgets at most 256 of the places that were kept', async () => {
  await rules.engine.configure([node('account', null, { concurrency: 1 }), ...models]);
  await rules.grant('1');
  for (const id of names(300)) {
    await queue(id, { place: id });
    await rules.engine.sidecar.cancel(id, { keepPlace: true });
  }
  await rules.engine.advance(60_000);
  const kept = async (): Promise<number> => rules.engine.redis.zcard(key('y'));
  const before = await kept();
  expect(await rules.engine.sidecar.tick()).toMatchObject({ nextTickMs: rules.engine.nowMs });
  expect(await kept()).toBe(before - 256);
});

test('F6 one call reclaims at most 64 leases and 64 waiters', async () => {
  await rules.engine.configure([node('account', null), ...models, node('quota:team', 'account', { concurrency: 0 })]);
  for (const id of names(70)) await rules.grant(id);
  for (const id of names(70)) await queue(`${id} waits`, TEAM);
  const reclaim = async () => rules.engine.admin.reclaim(rules.treeKey, { prefix: 'pod-1', except: null });
  expect(await reclaim()).toEqual({ leases: 64, waiters: 64 });
  expect(await reclaim()).toEqual({ leases: 6, waiters: 6 });
});

test('F6 a grant tells of at most eight limits that are nearly used up', async () => {
  const limits = names(9).map((name) => limit(name, 1));
  await rules.engine.configure([node('account', null, { thresholds: [80], limits })]);
  expect((await rules.grant('1')).warnings).toHaveLength(8);
});
