import { expect, test } from 'vitest';
import { limit, node, ONE, request, START_MS } from '#test/support/engine.ts';
import type { Grant } from '#sidecar/engine/terms.ts';
import { useEngine } from './fixture.ts';

const rules = useEngine();
const TTL = 15_000;
/** A beat comes every 5 s, give or take a tenth. */
const LONGEST_BEAT = 5500;
const ref = ({ id, fence, epoch }: Grant) => ({ id, fence, epoch });

/** Time passes in steps that are no gap, with somebody asking in between. */
async function pass(ms: number): Promise<void> {
  for (let left = ms; left > 0; left -= 5000) {
    await rules.engine.advance(Math.min(left, 5000));
    await rules.engine.sidecar.cancel('somebody else asks');
  }
}

const beat = (owner: string, ...grants: Grant[]) =>
  rules.engine.sidecar.beat({ owner, epoch: null, leases: grants.map(ref), waiters: [] });

test('T1 a clock set back neither extends leases nor opens the rate, and a clock set forward changes no answer', async () => {
  const rate = { intervalUs: 60_000_000, burst: 1 };
  await rules.engine.configure([node('account', null, { rate })]);
  const grant = await rules.grant('1');
  await rules.engine.advance(-3_600_000);
  const denied = await rules.acquire('2');
  // Both in wall time: the wait is what counts, and it did not grow.
  expect(denied).toMatchObject({
    reason: 'Rate',
    retryAtMs: START_MS - 3_600_000 + 60_000,
    serverNowMs: START_MS - 3_600_000,
  });
  const alive = await beat('pod-1', grant);
  expect(alive).toMatchObject({ kind: 'alive', serverNowMs: START_MS });
  await pass(TTL + 5000);
  expect(await rules.inFlight('account')).toBe(0);
});

test('T2 a grant tells when it was made and what time the server has now, on the clock that never goes back', async () => {
  await rules.engine.configure([node('account', null)]);
  const grant = await rules.grant('1');
  await rules.engine.advance(700);
  expect(await rules.acquire('1')).toEqual({
    ...grant,
    grantedAtMs: START_MS,
    serverNowMs: START_MS + 700,
    ttlMs: TTL,
  });
});

test('T2 a claim extends a live lease and refuses one that is gone or has another fence', async () => {
  await rules.engine.configure([node('account', null)]);
  const grant = await rules.grant('1');
  await pass(TTL - 1000);
  expect(await rules.engine.sidecar.claim(ref(grant))).toBe(true);
  await pass(TTL - 1000);
  expect(await rules.engine.sidecar.claim({ ...ref(grant), fence: grant.fence + 1 })).toBe(false);
  await pass(TTL);
  expect(await rules.engine.sidecar.claim(ref(grant))).toBe(false);
});

test('T3 after a gap, leases that were alive before it wait for a beat; one that had expired already does not', async () => {
  await rules.engine.configure([node('account', null)]);
  const live = await rules.grant('live');
  await rules.engine.advance(60_000);
  await rules.engine.sidecar.cancel('the server woke up');
  expect(await rules.inFlight('account')).toBe(1);
  expect(await beat('pod-1', live)).toMatchObject({ lost: [] });
  await pass(TTL + 1000);
  expect(await rules.inFlight('account')).toBe(0);

  await rules.grant('dead');
  await pass(TTL - 5000);
  await rules.engine.advance(5000 - 1);
  await rules.engine.sidecar.cancel('just before its end');
  await rules.engine.advance(7000);
  await rules.engine.sidecar.cancel('its end and 7 s are no gap');
  expect(await rules.inFlight('account')).toBe(0);
});

test('T3 after a gap an owner keeps its slot, however late its next beat may come', async () => {
  await rules.engine.configure([node('account', null, { concurrency: 1 })]);
  const grant = await rules.grant('1');
  await rules.engine.advance(22_000);
  expect(await rules.acquire('2', { owner: 'pod-2' })).toMatchObject({ reason: 'Concurrency' });
  await rules.engine.advance(LONGEST_BEAT - 1);
  expect(await rules.acquire('3', { owner: 'pod-2' })).toMatchObject({ reason: 'Concurrency' });
  await rules.engine.advance(1);
  expect(await beat('pod-1', grant)).toMatchObject({ lost: [] });
});

test('T3 on a quiet tree a dead holder has its slot until the first call 7.5 s after somebody calls again', async () => {
  await rules.engine.configure([node('account', null, { concurrency: 1 })]);
  await rules.grant('dead');
  await rules.engine.advance(60_000);
  expect(await rules.acquire('1', { owner: 'pod-2' })).toMatchObject({ reason: 'Concurrency' });
  await rules.engine.advance(7499);
  expect(await rules.acquire('2', { owner: 'pod-2' })).toMatchObject({ reason: 'Concurrency' });
  await rules.engine.advance(1);
  expect(await rules.acquire('3', { owner: 'pod-2' })).toMatchObject({ kind: 'granted' });
});

test.each(['beat', 'acquire', 'settle'] as const)('W2 a %s of an older epoch expires nobody', async (call) => {
  await rules.engine.configure([node('account', null)]);
  const grant = await rules.grant('1');
  await pass(TTL - 1000);
  await rules.engine.restartAs('another');
  await rules.engine.advance(2000);
  const { sidecar } = rules.engine;
  const leases = [ref(grant)];
  const answers = {
    beat: () => sidecar.beat({ owner: 'pod-1', epoch: grant.epoch, leases, waiters: [] }),
    acquire: () => rules.acquire('2', { epoch: grant.epoch }),
    settle: () => rules.settle({ ...grant, id: 'of a call before' }),
  };
  expect(await answers[call]()).toMatchObject({ kind: 'epoch' });
  expect(await rules.inFlight('account')).toBe(1);
  const registered = { lease: ref(grant), request: request('1'), sent: true };
  await sidecar.register({ owner: 'pod-1', leases: [registered], disclaimed: [] });
  expect(await beat('pod-1', grant)).toMatchObject({ lost: [] });
});

test('T7 a registration names what runs before it gives anything back, so that it expires none of it', async () => {
  await rules.engine.configure([node('account', null)]);
  const running = await rules.grant('1');
  await rules.grant('unused');
  await pass(TTL - 1000);
  await rules.engine.advance(2000);
  const leases = [{ lease: ref(running), request: request('1'), sent: true }];
  await rules.engine.sidecar.register({ owner: 'pod-1', leases, disclaimed: ['unused'] });
  expect(await rules.settle(running)).toMatchObject({ kind: 'settled', late: false });
});

test('T3 when most owners fall silent together, nobody is reaped for one more lifetime; then all are', async () => {
  await rules.engine.configure([node('account', null)]);
  await rules.grant('1', { owner: 'pod-1' });
  await rules.grant('2', { owner: 'pod-2' });
  const alive = await rules.grant('3', { owner: 'pod-3' });
  for (let ms = 0; ms < TTL + 10_000; ms += 5000) {
    await rules.engine.advance(5000);
    await beat('pod-3', alive);
  }
  expect(await rules.inFlight('account')).toBe(3);
  for (let ms = 0; ms < TTL; ms += 5000) {
    await rules.engine.advance(5000);
    await beat('pod-3', alive);
  }
  expect(await rules.inFlight('account')).toBe(1);
});

test('T3 one silent owner of three returns its slot after its lifetime', async () => {
  await rules.engine.configure([node('account', null)]);
  await rules.grant('1', { owner: 'pod-1' });
  const others = [await rules.grant('2', { owner: 'pod-2' }), await rules.grant('3', { owner: 'pod-3' })];
  for (let ms = 0; ms < TTL; ms += 5000) {
    await rules.engine.advance(5000);
    for (const grant of others) await beat(grant.id === '2' ? 'pod-2' : 'pod-3', grant);
  }
  expect(await rules.inFlight('account')).toBe(2);
});

const tokens = [limit('tokens', 1000, { resource: 'Tokens', window: { type: 'Anchored', durationMs: 3_600_000 } })];
const reserve = { ...ONE, inputTokens: 100 };

test('T4 a lease that expires charges its reserve; a late settlement replaces it exactly once', async () => {
  await rules.engine.configure([node('account', null, { concurrency: 1, limits: tokens })]);
  const grant = await rules.grant('1', { reserve });
  await pass(TTL + 5000);
  expect(await rules.inFlight('account')).toBe(0);
  expect(await rules.usage('account', 'tokens')).toMatchObject({ used: 100, reserved: 0 });
  const actual = { ...ONE, inputTokens: 700 };
  expect(await rules.settle(grant, { actual })).toEqual({ kind: 'settled', late: true, overdraft: false });
  expect(await rules.settle(grant, { actual })).toEqual({ kind: 'unknown' });
  expect(await rules.usage('account', 'tokens')).toMatchObject({ used: 700, reserved: 0 });
});

test('T4 a late settlement is taken until the longest run and 10 minutes after the grant, not later', async () => {
  await rules.engine.configure([node('account', null, { limits: tokens })]);
  const first = await rules.grant('1', { reserve, maxRuntimeMs: 60_000 });
  const second = await rules.grant('2', { reserve, maxRuntimeMs: 60_000 });
  await pass(659_000);
  expect(await rules.settle(first)).toMatchObject({ late: true });
  await pass(2000);
  expect(await rules.settle(second)).toEqual({ kind: 'unknown' });
});

test('T4 an expired grant is refunded if its owner disclaims it, unless it was claimed', async () => {
  await rules.engine.configure([node('account', null, { limits: tokens })]);
  await rules.grant('unused', { reserve });
  await rules.engine.sidecar.claim(ref(await rules.grant('claimed', { reserve })));
  await pass(TTL + 5000);
  expect(await rules.usage('account', 'tokens')).toMatchObject({ used: 200 });
  await rules.engine.sidecar.register({ owner: 'somebody else', leases: [], disclaimed: ['unused'] });
  expect(await rules.usage('account', 'tokens')).toMatchObject({ used: 200 });
  await rules.engine.sidecar.register({ owner: 'pod-1', leases: [], disclaimed: ['unused', 'claimed'] });
  expect(await rules.usage('account', 'tokens')).toMatchObject({ used: 100 });
});

test('a beat tells which leases are gone and keeps the others', async () => {
  await rules.engine.configure([node('account', null)]);
  const kept = await rules.grant('kept');
  const forgotten = await rules.grant('forgotten');
  await pass(10_000);
  await beat('pod-1', kept);
  await pass(10_000);
  expect(await beat('pod-1', kept, forgotten)).toMatchObject({ kind: 'alive', lost: ['forgotten'] });
  expect(await beat('pod-2', kept)).toMatchObject({ lost: ['kept'] });
});
