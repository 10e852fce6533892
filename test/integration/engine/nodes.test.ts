/** What nodes learn from the vendor's answers, on a real Redis (rules M1, T6, T7, N3, N6; adaptive control, breaker, freeze). */
import { expect, test } from 'vitest';
import type { Grant, Outcome } from '#sidecar/engine/terms.ts';
import type { NodeConfig } from '#sidecar/engine/tree-terms.ts';
import { limit, node, START_MS } from '#test/support/engine.ts';
import { useEngine } from './fixture.ts';

const rules = useEngine();
const ADAPTIVE = { concurrency: 6, adaptive: { min: 1, start: 1 } };
const WAIT = { mode: 'UntilWindow', maxWaitMs: 120_000 } as const;

const tree = async (model: Partial<NodeConfig>, account: Partial<NodeConfig> = {}): Promise<void> =>
  rules.engine.configure([
    node('account', null, account),
    node('model:glm-5.3', 'account', model),
    node('model:glm-4', 'account', model),
    node('model:other', 'account'),
  ]);

const limitOf = async (name: string): Promise<number | null> =>
  (await rules.engine.sidecar.snapshot())?.nodes.find((each) => each.name === name)?.concurrency ?? null;

const end = async (grant: Grant, outcome: Outcome = 'completed'): Promise<unknown> =>
  rules.settle(grant, { outcome, sentAfterMs: 0, firstByteAfterMs: outcome === 'completed' ? 1 : null });

/** One saturated probe interval, then one more call: the probe. */
async function probe(id: string, holders: readonly Grant[], pauseMs = 30_000): Promise<Grant> {
  await rules.acquire(`${id} saturates`);
  for (let passed = 0; passed < pauseMs; passed += 5000) {
    await rules.engine.advance(Math.min(5000, pauseMs - passed));
    const leases = holders.map(({ id: held, fence, epoch }) => ({ id: held, fence, epoch }));
    await rules.engine.sidecar.beat({ owner: 'pod-1', epoch: null, leases, waiters: [] });
  }
  return rules.grant(id);
}

test('an adaptive limit starts where it is told, and one accepted probe after a saturated pause raises it by one', async () => {
  await tree(ADAPTIVE);
  const first = await rules.grant('1');
  expect(await rules.acquire('2')).toMatchObject({ reason: 'Concurrency', node: 'model:glm-5.3', amount: 1 });
  const probed = await probe('probe', [first]);
  expect(await limitOf('model:glm-5.3')).toBe(1);
  await end(probed);
  expect(await limitOf('model:glm-5.3')).toBe(2);
});

test('a refused probe changes no limit, and the next pause is twice as long', async () => {
  await tree(ADAPTIVE);
  const first = await rules.grant('1');
  await end(await probe('probe', [first]), 'refusedConcurrency');
  expect(await limitOf('model:glm-5.3')).toBe(1);
  await expect(probe('early', [first], 30_000)).rejects.toThrow(/Concurrency/);
  expect(await probe('late', [first], 30_000)).toMatchObject({ kind: 'granted' });
});

test('a refusal with n calls in flight brings the limit to n − 1 for every pod at once', async () => {
  await tree({ concurrency: 6, adaptive: { min: 1, start: 4 } });
  const grants = [await rules.grant('1'), await rules.grant('2'), await rules.grant('3')];
  await end(grants[2]!, 'refusedConcurrency');
  expect(await limitOf('model:glm-5.3')).toBe(2);
  expect(await rules.acquire('4', { owner: 'pod-2' })).toMatchObject({ reason: 'Concurrency', used: 2, amount: 2 });
});

test('Q7 a refusal of a call that was sent before the last decrease changes nothing', async () => {
  await tree({ concurrency: 6, adaptive: { min: 1, start: 4 } });
  const grants = [await rules.grant('1'), await rules.grant('2'), await rules.grant('3'), await rules.grant('4')];
  await rules.engine.advance(100);
  await end(grants[3]!, 'refusedConcurrency');
  await end(grants[2]!, 'refusedConcurrency');
  expect(await limitOf('model:glm-5.3')).toBe(3);
});

test('M1 refusals of two models within two seconds shrink the account as well', async () => {
  const account = { concurrency: 8, adaptive: { min: 1, start: 6 } };
  await tree({ concurrency: 6, adaptive: { min: 1, start: 4 } }, account);
  const first = await rules.grant('1');
  const second = await rules.grant('2', { model: 'glm-4' });
  await rules.grant('3');
  await end(first, 'refusedConcurrency');
  expect(await limitOf('account')).toBe(6);
  await rules.engine.advance(1500);
  await end(second, 'refusedConcurrency');
  expect(await limitOf('account')).toBe(1);
});

test('what an hour of the day taught holds again in that hour of the next day', async () => {
  await tree({ concurrency: 6, adaptive: { min: 1, start: 5 } });
  const grants = [await rules.grant('1'), await rules.grant('2'), await rules.grant('3')];
  await end(grants[0]!, 'refusedConcurrency');
  await rules.engine.advance(3_600_000);
  const probed = await probe('probe', grants.slice(1));
  for (const grant of [probed, ...grants.slice(1)]) await end(grant);
  expect(await limitOf('model:glm-5.3')).toBe(3);
  await rules.engine.advance(23 * 3_600_000);
  await rules.grant('the next day');
  expect(await limitOf('model:glm-5.3')).toBe(2);
});

test('T6 an aborted call keeps its slot for the hold, its windows are settled at once', async () => {
  await tree({ concurrency: 1 }, { limits: [limit('five-hour', 5)] });
  const grant = await rules.grant('1');
  await rules.settle(grant, { outcome: 'brokeMidStream', holdMs: 2000 });
  expect(await rules.usage('account', 'five-hour')).toMatchObject({ used: 1, reserved: 0 });
  expect(await rules.acquire('2')).toMatchObject({ reason: 'Concurrency' });
  await rules.engine.advance(2000);
  expect(await rules.acquire('3')).toMatchObject({ kind: 'granted' });
  expect(await rules.drifts()).toEqual([]);
});

test('T6 at the least limit every refusal of a call that was handed its slot since lengthens the hold', async () => {
  await tree({ concurrency: 6, adaptive: { min: 1, start: 1 } });
  const handed = async (id: string): Promise<Grant | null> => {
    const beat = await rules.engine.sidecar.beat({ owner: 'pod-1', epoch: null, leases: [], waiters: [id] });
    const notice = beat.kind === 'alive' ? beat.notices[0] : undefined;
    return notice?.kind === 'granted' ? notice.grant : null;
  };
  const first = await rules.grant('1');
  await rules.acquire('2', { wait: WAIT });
  await rules.settle(first);
  const holds: number[] = [];
  for (let call = 2; call < 8; call++) {
    let heldMs = 0;
    for (let grant = await handed(String(call)); ; grant = await handed(String(call))) {
      if (grant !== null) {
        await rules.acquire(String(call + 1), { wait: WAIT });
        await end(grant, 'refusedConcurrency');
        break;
      }
      await rules.engine.advance(50);
      heldMs += 50;
    }
    holds.push(heldMs);
  }
  expect(holds).toEqual([0, 50, 100, 200, 400, 800]);
});

test('T6 a refusal right after a hand-off changes the hold first, the limit only the second time', async () => {
  await tree({ concurrency: 6, adaptive: { min: 1, start: 2 } });
  const handOff = async (id: string, holder: Grant): Promise<Grant> => {
    await rules.acquire(id, { wait: WAIT });
    await rules.settle(holder);
    await rules.engine.advance(1000);
    const beat = await rules.engine.sidecar.beat({ owner: 'pod-1', epoch: null, leases: [], waiters: [id] });
    const notice = beat.kind === 'alive' ? beat.notices[0] : undefined;
    if (notice?.kind !== 'granted') throw new Error(`${id} was not handed a slot`);
    return notice.grant;
  };
  const first = await rules.grant('1');
  const second = await rules.grant('2');
  const third = await handOff('3', first);
  await end(third, 'refusedConcurrency');
  expect(await limitOf('model:glm-5.3')).toBe(2);
  await rules.engine.advance(1000);
  const fourth = await rules.grant('4');
  const fifth = await handOff('5', second);
  await end(fifth, 'refusedConcurrency');
  expect(await limitOf('model:glm-5.3')).toBe(1);
  expect(fourth.kind).toBe('granted');
});

test('a 1303 stretches the rate of its model and pauses it, not the other models', async () => {
  await tree({ rate: { intervalUs: 1_000_000, burst: 1 } });
  await end(await rules.grant('1'), 'refusedRate');
  const denied = await rules.acquire('2');
  expect(denied).toMatchObject({ reason: 'Rate', limit: 'pause', retryAtMs: START_MS + 1250 });
  expect(await rules.acquire('3', { model: 'glm-4' })).toMatchObject({ kind: 'granted' });
  await rules.engine.advance(1250);
  await rules.grant('4');
  expect(await rules.acquire('5')).toMatchObject({ reason: 'Rate', limit: 'rate', retryAtMs: START_MS + 2500 });
});

test('an overload pauses its model for longer each time, until a call is answered', async () => {
  await tree({});
  const pauses: number[] = [];
  for (const id of ['1', '2', '3']) {
    await end(await rules.grant(id), 'refusedOverload');
    const denied = await rules.acquire(`${id} again`);
    if (denied.kind !== 'denied' || denied.retryAtMs === null) throw new Error('it did not pause');
    pauses.push(denied.retryAtMs - denied.serverNowMs);
    await rules.engine.advance(pauses.at(-1)!);
  }
  expect(pauses[0]).toBeGreaterThanOrEqual(500);
  expect(pauses[2]).toBeGreaterThan(pauses[0]!);
});

test('the breaker opens for all pods at once, lets one probe through, and closes when that succeeds', async () => {
  await tree({ breaker: { failureRatePercent: 50, minimumCalls: 2, openForMs: 60_000 } });
  const breakerOf = async () => (await rules.engine.sidecar.snapshot())?.nodes[1]?.breaker;
  for (const id of ['1', '2']) {
    const grant = await rules.grant(id);
    await end(grant, 'failedBeforeFirstByte');
    await rules.engine.advance(2000);
  }
  expect(await breakerOf()).toBe('Open');
  expect(await rules.acquire('3', { owner: 'pod-2' })).toMatchObject({ reason: 'Breaker', node: 'model:glm-5.3' });
  await rules.engine.advance(60_000);
  expect(await breakerOf()).toBe('HalfOpen');
  const probed = await rules.grant('probe');
  expect(await rules.acquire('4')).toMatchObject({ reason: 'Breaker' });
  await end(probed);
  expect(await breakerOf()).toBe('Closed');
  expect(await rules.acquire('5')).toMatchObject({ kind: 'granted' });
});

test('a 1308 closes the whole account until the time the vendor named and the guard', async () => {
  await tree({}, { limits: [limit('five-hour', 100)] });
  const until = START_MS + 3_600_000;
  await rules.settle(await rules.grant('1'), { outcome: 'refusedQuota', frozenUntilMs: until });
  expect(await rules.acquire('2', { model: 'glm-4' })).toMatchObject({ reason: 'Frozen', retryAtMs: until + 2000 });
  expect(await rules.usage('account', 'five-hour')).toMatchObject({ used: 0 });
  await rules.engine.setUs((until + 2000) * 1000);
  expect(await rules.acquire('3')).toMatchObject({ kind: 'granted' });
});
