/** Guards of what nodes learn (Q7, T6, N6), each found missing a test by `test/proof/mutation`. */
import { expect, test } from 'vitest';
import type { Grant, Outcome } from '#sidecar/engine/terms.ts';
import type { NodeConfig } from '#sidecar/engine/tree-terms.ts';
import { limit, node } from '#test/support/engine.ts';
import { useEngine } from './fixture.ts';
import { useOwners } from './waiting-fixture.ts';
import { useWaitingRoom } from './waiting-room.ts';

const rules = useEngine();
const { queue, served } = useWaitingRoom(rules);
const { pass } = useOwners(rules);
const MODEL = 'model:glm-5.3';
const HOUR = 3_600_000;
const LONG = { mode: 'UntilWindow', maxWaitMs: 3_600_000 } as const;

const tree = async (model: Partial<NodeConfig>, account: Partial<NodeConfig> = {}): Promise<void> =>
  rules.engine.configure([
    node('account', null, account),
    node(MODEL, 'account', model),
    node('model:other', 'account'),
  ]);
const adaptive = (concurrency: number, start: number, min = 1) => ({ concurrency, adaptive: { min, start } });
const stateOf = async (name: string) =>
  (await rules.engine.sidecar.snapshot())?.nodes.find((each) => each.name === name);
const limitOf = async (name: string) => (await stateOf(name))?.concurrency;

const end = async (grant: Grant, outcome: Outcome = 'completed'): Promise<unknown> =>
  rules.settle(grant, { outcome, sentAfterMs: 0, firstByteAfterMs: outcome === 'completed' ? 1 : null });

const FULL = { reason: 'Concurrency', node: MODEL };

/** Asks in vain, waits with `holders` alive, and asks once more: the probe. */
async function probe(id: string, holders: readonly Grant[], pauseMs = 30_000): Promise<Grant> {
  expect(await rules.acquire(`${id} saturates`)).toMatchObject(FULL);
  await pass(pauseMs - 1, { 'pod-1': { leases: holders } });
  expect(await rules.acquire(`${id} is early`)).toMatchObject(FULL);
  await rules.engine.advance(1);
  return rules.grant(id);
}

test('Q7 a probe that the vendor did not answer raises no limit', async () => {
  await tree(adaptive(6, 1));
  const probed = await probe('probe', [await rules.grant('1')]);
  await rules.settle(probed, { outcome: 'completed', sentAfterMs: 0, firstByteAfterMs: null });
  expect(await limitOf(MODEL)).toBe(1);
});

test('Q7 the pause before a probe grows to ten minutes, not further', async () => {
  await tree(adaptive(6, 1));
  const first = await rules.grant('1');
  for (const seconds of [30, 60, 120, 240, 480, 600]) {
    await end(await probe(`after ${seconds} s`, [first], seconds * 1000), 'refusedConcurrency');
  }
  expect(await limitOf(MODEL)).toBe(1);
});

test('Q7 a limit does not shrink below its least', async () => {
  await tree(adaptive(6, 2, 2));
  await end(await rules.grant('1'), 'refusedConcurrency');
  expect(await limitOf(MODEL)).toBe(2);
});

test('Q7 an hour of the day that once allowed more is probed for after a second', async () => {
  await tree(adaptive(6, 5));
  const grants = [await rules.grant('1'), await rules.grant('2'), await rules.grant('3')];
  for (const grant of grants) await end(grant, grant === grants[0] ? 'refusedConcurrency' : 'completed');
  await rules.engine.advance(HOUR);
  await end(await rules.grant('an hour later'), 'refusedConcurrency');
  expect(await limitOf(MODEL)).toBe(1);
  await rules.engine.advance(23 * HOUR);
  const first = await rules.grant('the next day');
  await end(await probe('probe', [first], 1000));
  expect(await limitOf(MODEL)).toBe(2);
});

test('Q7 while a probe is under way there is no other', async () => {
  await tree(adaptive(6, 1));
  const first = await rules.grant('1');
  await probe('probe', [first]);
  await end(first);
  expect(await rules.acquire('2')).toMatchObject(FULL);
});

test('Q7 of calls above the limit of an observed node the first is the probe', async () => {
  await tree({ ...adaptive(6, 1), observe: true });
  await rules.grant('1');
  const probed = await rules.grant('2');
  await rules.grant('3');
  await end(probed);
  expect(await limitOf(MODEL)).toBe(2);
});

test('Q7 a limit that was not full meanwhile is not saturated any more', async () => {
  await tree(adaptive(6, 2));
  const grants = [await rules.grant('1'), await rules.grant('2')];
  expect(await rules.acquire('3')).toMatchObject(FULL);
  for (const grant of grants) await end(grant);
  await pass(25_000);
  const leases = [await rules.grant('4'), await rules.grant('5')];
  await pass(5000, { 'pod-1': { leases } });
  expect(await rules.acquire('6')).toMatchObject(FULL);
});

test('Q7 a limit at its most is not probed', async () => {
  await tree(adaptive(1, 1));
  const first = await rules.grant('1');
  expect(await rules.acquire('2')).toMatchObject(FULL);
  await pass(30_000, { 'pod-1': { leases: [first] } });
  expect(await rules.acquire('3')).toMatchObject(FULL);
});

test('Q6 who waits at a saturated limit becomes its probe when that is due', async () => {
  await tree(adaptive(6, 1));
  const leases = [await rules.grant('1')];
  await queue('2', { wait: LONG });
  await pass(30_000, { 'pod-1': { leases, waiters: ['2'] } });
  expect(await served('2')).toMatchObject({ kind: 'granted' });
});

test('Q6 who waits for a window that a call of a sibling held open is looked at when that may have ended', async () => {
  const window = { type: 'Anchored', durationMs: 60_000 } as const;
  const share = [limit('five-hour', 2, { window, windowOwner: 'account' })];
  await rules.engine.configure([
    node('account', null, { limits: [limit('five-hour', 10, { window })] }),
    node('model:other', 'account'),
    node('quota:a', 'account', { limits: share }),
    node('quota:b', 'account', { limits: share }),
  ]);
  const sibling = await rules.grant('b', { leaf: 'quota:b' });
  for (const id of ['a1', 'a2']) await end(await rules.grant(id, { leaf: 'quota:a' }), 'brokeMidStream');
  await queue('a3', { leaf: 'quota:a', wait: LONG });
  const alive = { 'pod-1': { leases: [sibling], waiters: ['a3'] } };
  await pass(65_000, alive);
  await rules.settle(sibling, { sentAfterMs: 0, firstByteAfterMs: 100 });
  await pass(2000, { 'pod-1': { waiters: ['a3'] } });
  expect(await served('a3')).toMatchObject({ kind: 'granted' });
});

test('T6 refusals after hand-offs raise the hold to 800 ms, not further', async () => {
  await tree({ concurrency: 1 });
  for (const holdMs of [50, 100, 200, 400, 800, 800]) {
    const first = await rules.grant(`first ${holdMs} ${rules.engine.nowMs}`);
    await queue(`second ${rules.engine.nowMs}`);
    const name = `second ${rules.engine.nowMs}`;
    await rules.settle(first);
    await rules.engine.advance(800);
    await rules.settle(await served(name), { outcome: 'refusedConcurrency' });
    await rules.engine.advance(holdMs - 1);
    expect(await rules.acquire(`${name} early`)).toMatchObject(FULL);
    await rules.engine.advance(1);
    await rules.settle(await rules.grant(`${name} due`), { outcome: 'neverSent' });
    await rules.engine.advance(31_000);
  }
});

/** How long a model is closed after a call of that outcome; afterwards it is open again. */
async function pauseAfter(outcome: Outcome): Promise<number> {
  await end(await rules.grant(`at ${rules.engine.nowMs}`), outcome);
  const denied = await rules.acquire(`at ${rules.engine.nowMs} again`);
  if (denied.kind !== 'denied' || denied.retryAtMs === null) throw new Error('it did not pause');
  const pauseMs = denied.retryAtMs - denied.serverNowMs;
  await rules.engine.advance(pauseMs);
  return pauseMs;
}

test('N6 refusals for the rate stretch it to four times, not further, and it recovers by a tenth a minute', async () => {
  await tree({});
  expect(await pauseAfter('refusedRate')).toBe(1250);
  await rules.engine.advance(60_000);
  expect(await pauseAfter('refusedRate')).toBe(1406);
  let pauseMs = 0;
  for (let refused = 0; refused < 6; refused++) pauseMs = await pauseAfter('refusedRate');
  expect(pauseMs).toBe(4000);
});

test('N6 overloads in a row pause a model for 32 s at most, until a call is answered', async () => {
  await tree({});
  let pauseMs = 0;
  for (let refused = 0; refused < 9; refused++) pauseMs = await pauseAfter('refusedOverload');
  expect(pauseMs).toBeGreaterThanOrEqual(16_000);
  expect(pauseMs).toBeLessThanOrEqual(32_000);
  await end(await rules.grant('answered'));
  expect(await pauseAfter('refusedOverload')).toBeLessThanOrEqual(1000);
});

const breakerOf = async () => (await stateOf(MODEL))?.breaker;
const failing = async (): Promise<unknown> => pauseAfter('failedBeforeFirstByte');

test('N6 a breaker stays closed below its number of calls', async () => {
  await tree({ breaker: { failureRatePercent: 50, minimumCalls: 3, openForMs: 60_000 } });
  await failing();
  await failing();
  expect(await breakerOf()).toBe('Closed');
});

test('N6 a breaker stays closed below its share of failures', async () => {
  await tree({ breaker: { failureRatePercent: 50, minimumCalls: 3, openForMs: 60_000 } });
  await end(await rules.grant('1'));
  await end(await rules.grant('2'));
  await failing();
  expect(await breakerOf()).toBe('Closed');
});

test('N6 failures more than a minute apart do not open a breaker', async () => {
  await tree({ breaker: { failureRatePercent: 50, minimumCalls: 2, openForMs: 60_000 } });
  await failing();
  await rules.engine.advance(60_000);
  await failing();
  expect(await breakerOf()).toBe('Closed');
});

test('N6 a probe that fails keeps the breaker open', async () => {
  await tree({ breaker: { failureRatePercent: 50, minimumCalls: 1, openForMs: 60_000 } });
  await end(await rules.grant('1'), 'failedBeforeFirstByte');
  expect(await breakerOf()).toBe('Open');
  await rules.engine.advance(60_000);
  await end(await rules.grant('probe'), 'failedBeforeFirstByte');
  expect(await breakerOf()).toBe('Open');
});

test('N6 a second refusal that names an earlier time does not shorten a freeze', async () => {
  await tree({});
  const until = rules.engine.nowMs + HOUR;
  const grants = [await rules.grant('1'), await rules.grant('2')];
  await rules.settle(grants[0]!, { outcome: 'refusedQuota', frozenUntilMs: until });
  await rules.settle(grants[1]!, { outcome: 'refusedQuota', frozenUntilMs: until - HOUR / 2 });
  expect(await rules.acquire('3')).toMatchObject({ reason: 'Frozen', retryAtMs: until + 2000 });
});

test('N5 a 1308 that names no time closes the account for a minute', async () => {
  await tree({});
  await rules.settle(await rules.grant('1'), { outcome: 'refusedQuota', frozenUntilMs: null });
  expect(await rules.acquire('2')).toMatchObject({ reason: 'Frozen', retryAtMs: rules.engine.nowMs + 62_000 });
});
