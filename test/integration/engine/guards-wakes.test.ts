/** Q6, caller by caller: what wakes who is parked. Each was found missing a test by `test/proof/mutation`. */
import { expect, test } from 'vitest';
import type { NodeConfig } from '#sidecar/engine/tree-terms.ts';
import { limit, node, NOTHING, ONE, START_MS } from '#test/support/engine.ts';
import { useEngine } from './fixture.ts';
import { SLOT, useOwners } from './waiting-fixture.ts';
import { models, useWaitingRoom, WAIT } from './waiting-room.ts';

const rules = useEngine();
const { queue, served } = useWaitingRoom(rules);
const { stillWaits, pass } = useOwners(rules);
const SYSTEM = { class: 'System' } as const;
const TEAM = { leaf: 'quota:team' } as const;

const tree = async (account: Partial<NodeConfig>, team: Partial<NodeConfig> = {}): Promise<void> =>
  rules.engine.configure([node('account', null, account), ...models, node('quota:team', 'account', team)]);
const fixed = { type: 'Fixed', durationMs: 600_000 } as const;
const tokens = (amount: number) => [limit('tokens', amount, { resource: 'Tokens', window: fixed })];
const using = (inputTokens: number) => ({ reserve: { ...ONE, inputTokens } });
const LONG = { mode: 'UntilWindow', maxWaitMs: 3_600_000 } as const;

test('Q6 the end of a freeze wakes who is parked', async () => {
  await tree({});
  await rules.engine.admin.freeze(rules.treeKey, 'quota:team', START_MS + 50_000);
  await queue('1', TEAM);
  await rules.engine.admin.freeze(rules.treeKey, 'quota:team', null);
  expect(await served('1')).toMatchObject({ kind: 'granted' });
});

test('Q6 the reset of a window wakes who is parked', async () => {
  await tree({}, { limits: tokens(100) });
  await rules.settle(await rules.grant('1', { ...TEAM, ...using(90) }), { actual: { ...ONE, inputTokens: 90 } });
  await queue('2', { ...TEAM, ...using(50), wait: LONG });
  await rules.engine.admin.resetWindow(rules.treeKey, 'quota:team', 'tokens');
  expect(await served('2')).toMatchObject({ kind: 'granted' });
});

test('Q6 a calibration that gives room wakes who is parked', async () => {
  const window = { type: 'Anchored', durationMs: 18_000_000 } as const;
  await tree({ limits: [limit('five-hour', 1, { window })] });
  await rules.settle(await rules.grant('1'));
  await queue('2', { wait: { ...LONG, maxWaitMs: 20_000_000 } });
  for (const _twice of [1, 2]) {
    await rules.engine.advance(1000);
    const reading = { limit: 'five-hour', used: 0, resetAtMs: START_MS + 36_000_000, pollStartMs: rules.engine.nowMs };
    await rules.engine.admin.calibrate(rules.treeKey, reading);
  }
  expect(await served('2')).toMatchObject({ kind: 'granted' });
});

test('Q6 the end of a starvation guard wakes who was kept out by it', async () => {
  await tree({}, { limits: tokens(100) });
  const holder = await rules.grant('holder', { ...TEAM, ...using(30), model: 'glm-4', owner: 'pod-2' });
  await queue('large', { ...TEAM, ...using(90) });
  for (let call = 0; call < 8; call++) {
    const passing = await rules.grant(`small${call}`, { ...TEAM, ...using(1), model: 'glm-4' });
    await rules.settle(passing, { actual: NOTHING });
  }
  await queue('kept out', { ...TEAM, ...using(1), model: 'glm-4' });
  await rules.engine.sidecar.cancel('large');
  expect(await served('kept out')).toMatchObject({ kind: 'granted' });
  expect(holder.kind).toBe('granted');
});

test('Q6 a late settlement that used less wakes who is parked', async () => {
  await tree({}, { limits: tokens(100) });
  const lost = await rules.grant('1', { ...TEAM, ...using(60), owner: 'pod-2' });
  await queue('2', { ...TEAM, ...using(50), wait: LONG });
  await pass(20_000, { 'pod-1': { waiters: ['2'] } });
  await rules.settle(lost, { actual: { ...ONE, inputTokens: 10 } });
  expect(await served('2')).toMatchObject({ kind: 'granted' });
});

test('Q6 the settled windows of a call whose slot is held wake who is parked', async () => {
  await tree({}, { limits: tokens(100) });
  const grant = await rules.grant('1', { ...TEAM, ...using(60) });
  await queue('2', { ...TEAM, ...using(50), wait: LONG });
  await rules.settle(grant, { actual: { ...ONE, inputTokens: 10 }, holdMs: 2000 });
  expect(await served('2')).toMatchObject({ kind: 'granted' });
});

test("Q6, Q8 an end of class System wakes who waits for System's share", async () => {
  await tree({ concurrency: 4 });
  const first = await rules.grant('s1', SYSTEM);
  await rules.grant('s2', SYSTEM);
  await queue('s3', SYSTEM);
  await rules.settle(first);
  expect(await served('s3')).toMatchObject({ kind: 'granted' });
});

test('Q6, Q8 with one slot System goes when the others turn out to have no room', async () => {
  await tree({ concurrency: 1 }, { limits: tokens(100) });
  const grant = await rules.grant('s1', { ...SYSTEM, ...TEAM, ...using(10) });
  await queue('s2', SYSTEM);
  await queue('n', { ...TEAM, ...using(80), wait: LONG });
  await rules.settle(grant, { actual: { ...ONE, inputTokens: 50 } });
  expect(await served('s2')).toMatchObject({ kind: 'granted' });
  await stillWaits('n');
});

test('Q6, Q8 with one slot System goes when the others are denied', async () => {
  await tree({ concurrency: 1 }, { limits: tokens(100) });
  const grant = await rules.grant('s1', { ...SYSTEM, ...TEAM, ...using(10) });
  await queue('s2', SYSTEM);
  await queue('n', { ...TEAM, ...using(80), wait: SLOT });
  await rules.settle(grant, { actual: { ...ONE, inputTokens: 50 } });
  expect(await served('s2')).toMatchObject({ kind: 'granted' });
});

test('Q6 who is looked at and finds the next limit closed comes back when that one opens', async () => {
  await tree({ concurrency: 1 }, { rate: { intervalUs: 10_000_000, burst: 1 } });
  const grant = await rules.grant('1', TEAM);
  await rules.engine.advance(10_000);
  await queue('2', TEAM);
  await queue('3', TEAM);
  await rules.settle(grant);
  await rules.settle(await served('2'));
  await rules.engine.advance(10_000);
  await rules.engine.sidecar.tick();
  expect(await served('3')).toMatchObject({ kind: 'granted' });
});

test('Q6 a rate of the account that closes while calls wait is looked at again when it opens', async () => {
  await tree({ rate: { intervalUs: 10_000_000, burst: 1 }, concurrency: 1 });
  const grant = await rules.grant('1');
  await queue('2', { wait: WAIT });
  await queue('3', { wait: WAIT });
  await rules.settle(grant);
  await rules.engine.advance(10_000);
  const { nextTickMs } = await rules.engine.sidecar.tick();
  expect(nextTickMs).toBe(START_MS + 20_000);
});
