import { afterEach, expect, test } from 'vitest';
import { settled, snapshotOf } from './fixtures.ts';
import { admitted, CALL, closeDesks, deskWith, never, WHOLE } from './desk-fixture.ts';

afterEach(closeDesks);

test('an admitted call reserves its estimate at the price of the routed model', async () => {
  const { desk, engine } = deskWith();
  await admitted(desk);
  expect(engine.asked[0]).toMatchObject({
    leaf: 'quota:team/a',
    model: 'glm-5.3',
    generation: 7,
    epoch: null,
    maxRuntimeMs: 3_600_000,
    reserve: { requests: 1, prompts: 1, inputTokens: 1000, outputTokens: 500, nanoCost: 1_400_000 + 2_200_000 },
  });
});

test('without a snapshot nothing is asked of Redis', async () => {
  const { desk, engine } = deskWith(null);
  expect(await desk.admit(CALL, never)).toMatchObject({ kind: 'unavailable' });
  expect(engine.asked).toEqual([]);
});

test('the per-agent limit is checked before Redis and freed as soon as a call ends', async () => {
  const { desk, engine } = deskWith(snapshotOf({ perAgentConcurrency: 1 }));
  const lease = await admitted(desk);
  expect(await desk.admit(CALL, never)).toMatchObject({ kind: 'denied', reason: 'PerAgent', used: 1, amount: 1 });
  expect(engine.asked).toHaveLength(1);
  void lease.settle(WHOLE);
  await admitted(desk);
});

test('calls that are still asking count against the per-agent limit', async () => {
  const { desk } = deskWith(snapshotOf({ perAgentConcurrency: 2 }));
  const admissions = await Promise.all([1, 2, 3].map(() => desk.admit(CALL, never)));
  expect(admissions.map(({ kind }) => kind).toSorted()).toEqual(['admitted', 'admitted', 'denied']);
});

test("a denial's time to come back is told in local time", async () => {
  const { desk, engine, clock } = deskWith();
  engine.onAcquire = () => ({
    kind: 'denied',
    reason: 'Window',
    node: 'account',
    limit: 'five-hour',
    used: 9,
    amount: 10,
    retryAtMs: 42_000,
    serverNowMs: 40_000,
  });
  expect(await desk.admit(CALL, never)).toEqual({
    kind: 'denied',
    reason: 'Window',
    node: 'account',
    limit: 'five-hour',
    used: 9,
    amount: 10,
    retryAtMs: clock.nowMs() + 2000,
  });
});

test('a new epoch makes the process register its leases, then ask once more', async () => {
  const { desk, engine } = deskWith();
  const running = await admitted(desk);
  await running.start(never);
  engine.epoch = 2;
  engine.onAcquire = (request) => (request.epoch === 2 ? engine.grant(request.id) : { kind: 'epoch', epoch: 2 });
  await admitted(desk);
  expect(engine.registered).toHaveLength(1);
  expect(engine.registered[0]?.leases).toMatchObject([{ lease: { id: running.id }, sent: true }]);
  expect(engine.asked.map(({ epoch }) => epoch)).toEqual([null, 1, 2]);
});

test('calls that meet a new epoch together share one registration', async () => {
  const { desk, engine } = deskWith();
  await admitted(desk);
  engine.epoch = 2;
  engine.onAcquire = (request) => (request.epoch === 2 ? engine.grant(request.id) : { kind: 'epoch', epoch: 2 });
  await Promise.all([admitted(desk), admitted(desk), admitted(desk)]);
  expect(engine.registered).toHaveLength(1);
});

test('a stale call waits for the next snapshot and is asked again with its generation', async () => {
  const { desk, engine, snapshots } = deskWith();
  engine.onAcquire = (request) =>
    request.generation === 8 ? engine.grant(request.id) : { kind: 'stale', generation: 8 };
  const admission = desk.admit(CALL, never);
  await settled();
  snapshots.set(snapshotOf({}, 8));
  expect(await admission).toMatchObject({ kind: 'admitted' });
  expect(engine.asked.map(({ generation }) => generation)).toEqual([7, 8]);
  expect(new Set(engine.asked.map(({ id }) => id)).size).toBe(1);
});

test('a call that stays stale is told to come back after a few seconds', async () => {
  const { desk, engine, clock } = deskWith();
  engine.onAcquire = () => ({ kind: 'stale', generation: 8 });
  const admission = desk.admit(CALL, never);
  await clock.advance(4000);
  expect(await admission).toMatchObject({ kind: 'unavailable' });
});

test('Redis away is `unavailable`, and the unanswered id is cancelled when it is back', async () => {
  const { desk, engine, clock } = deskWith();
  engine.down = true;
  expect(await desk.admit(CALL, never)).toMatchObject({ kind: 'unavailable' });
  engine.down = false;
  await clock.advance(6000);
  expect(engine.cancelled).toEqual([engine.asked[0]?.id]);
});

test('a grant that comes after its caller left is cancelled', async () => {
  const { desk, engine } = deskWith();
  const gate = Promise.withResolvers<void>();
  engine.onAcquire = async (request) => {
    await gate.promise;
    return engine.grant(request.id);
  };
  const gone = new AbortController();
  const admission = desk.admit(CALL, gone.signal);
  const refused = admission.catch((error: unknown) => error);
  await settled();
  gone.abort(new Error('gone'));
  gate.resolve();
  expect(await refused).toMatchObject({ message: 'gone' });
  expect(engine.cancelled).toEqual([engine.asked[0]?.id]);
  expect(desk.inFlight).toBe(0);
});

test('another tree gets a session of its own; the old one is closed when its last lease has ended', async () => {
  const { desk, engine, clock, snapshots, closed } = deskWith();
  const lease = await admitted(desk);
  await lease.start(never);
  snapshots.set(snapshotOf({ treeKey: 'other' }, 8));
  await admitted(desk);
  expect(new Set(engine.asked.map(({ owner }) => owner)).size).toBe(2);
  await clock.advance(10_000);
  expect(closed).toEqual([]);
  await lease.settle(WHOLE);
  await clock.advance(2000);
  expect(closed).toEqual(['tree']);
});

test('a session whose connection was replaced lives on while a grant may still come', async () => {
  const { desk, engine, clock, snapshots, closed } = deskWith();
  const gate = Promise.withResolvers<void>();
  const grantNow = engine.onAcquire;
  engine.onAcquire = async (request) => {
    await gate.promise;
    return grantNow(request);
  };
  const late = admitted(desk);
  await settled();
  engine.onAcquire = grantNow;
  const { redis } = snapshotOf();
  snapshots.set({ ...snapshotOf({}, 8), redis: { ...redis, password: 'rotated' } });
  await (await admitted(desk)).cancel();
  await clock.advance(3000);
  expect(closed).toEqual([]);
  gate.resolve();
  const lease = await late;
  const { beats } = engine;
  await clock.advance(6000);
  expect(engine.beats).toBeGreaterThan(beats);
  await lease.cancel();
  await clock.advance(2000);
  expect(closed).toEqual(['tree']);
});

test('asking again with the id of a lease that is held gives the same lease', async () => {
  const { desk, engine } = deskWith();
  const first = await desk.admit({ ...CALL, id: 'mine' }, never);
  const second = await desk.admit({ ...CALL, id: 'mine' }, never);
  expect(second).toEqual(first);
  expect(engine.asked).toHaveLength(1);
});

test('verdicts and leases are counted', async () => {
  const { desk, registry } = deskWith();
  await admitted(desk);
  const text = await registry.metrics();
  expect(text).toContain('glmquota_verdicts_total{verdict="granted"} 1');
  expect(text).toContain('glmquota_calls_in_flight 1');
  expect(text).toContain('glmquota_verdicts_total{verdict="Window"} 0');
});

test('settings of Redis that cannot be used make calls unavailable, and the former ones serve again when they return', async () => {
  const { desk, snapshots, failToOpen } = deskWith();
  const first = snapshots.value;
  await admitted(desk);
  failToOpen.add('other');
  snapshots.set(snapshotOf({ treeKey: 'other' }, 8));
  expect(await desk.admit(CALL, never)).toMatchObject({ kind: 'unavailable' });
  snapshots.set(first);
  await admitted(desk);
});

test('W2 a Redis that loses its memory again and again while one call asks is unavailable', async () => {
  const { desk, engine } = deskWith();
  engine.onAcquire = () => ({ kind: 'epoch', epoch: ++engine.epoch });
  expect(await desk.admit(CALL, never)).toMatchObject({ kind: 'unavailable' });
  expect(engine.asked).toHaveLength(3);
});
