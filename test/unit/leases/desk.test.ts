import { afterEach, expect, test } from 'vitest';
import { createCell } from '#sidecar/base/cell.ts';
import type { SidecarSnapshot } from '#sidecar/control/terms.ts';
import { createLeaseDesk } from '#sidecar/leases/desk.ts';
import type { HeldLease } from '#sidecar/leases/terms.ts';
import { ManualClock, metricsForTest, quiet, ScriptedEngine, settled, snapshotOf } from './fixtures.ts';

const ESTIMATE = { inputTokens: 1000, cachedTokens: 0, outputTokens: 500 };
const CALL = { model: 'glm-5.2', estimate: ESTIMATE };
const never = new AbortController().signal;

const open: AsyncDisposable[] = [];
afterEach(async () => {
  for (const each of open.splice(0)) await each[Symbol.asyncDispose]();
});

function deskWith(snapshot: SidecarSnapshot | null = snapshotOf()) {
  const clock = new ManualClock();
  const engine = new ScriptedEngine();
  const snapshots = createCell(snapshot);
  const closed: string[] = [];
  const { metrics, registry } = metricsForTest();
  const desk = createLeaseDesk({
    snapshots,
    openEngine: ({ binding }) => ({
      engine,
      [Symbol.asyncDispose]: async () => void closed.push(binding.treeKey),
    }),
    processId: 'pod-1',
    clock,
    log: quiet,
    metrics,
  });
  open.push(desk);
  return { clock, engine, snapshots, desk, closed, registry };
}

async function admitted(desk: ReturnType<typeof deskWith>['desk']): Promise<HeldLease> {
  const admission = await desk.admit(CALL, never);
  if (admission.kind !== 'admitted') throw new Error(`not admitted: ${JSON.stringify(admission)}`);
  return admission.lease;
}

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
  void lease.settle('completed', ESTIMATE, null);
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
  const outcome = expect(admission).rejects.toThrow('gone');
  await settled();
  gone.abort(new Error('gone'));
  gate.resolve();
  await outcome;
  expect(engine.cancelled).toEqual([engine.asked[0]?.id]);
  expect(desk.inFlight).toBe(0);
});

test('a settlement that cannot be delivered is kept and delivered with a later beat, once', async () => {
  const { desk, engine, clock } = deskWith();
  const lease = await admitted(desk);
  await lease.start(never);
  engine.down = true;
  await expect(lease.settle('completed', ESTIMATE, 'glm-5.3')).resolves.toEqual({ late: false });
  await clock.advance(6000);
  expect(engine.settled).toEqual([]);
  engine.down = false;
  await clock.advance(12_000);
  expect(engine.settled).toMatchObject([{ id: lease.id, outcome: 'completed', actual: { outputTokens: 500 } }]);
});

test('a settlement that meets a new epoch is registered and sent again', async () => {
  const { desk, engine } = deskWith();
  const lease = await admitted(desk);
  await lease.start(never);
  engine.epoch = 2;
  let first = true;
  engine.onSettle = () => {
    if (!first) return { kind: 'settled', late: true, overdraft: false };
    first = false;
    return { kind: 'epoch', epoch: 2 };
  };
  expect(await lease.settle('completed', ESTIMATE, null)).toEqual({ late: true });
  expect(engine.registered[0]?.leases).toMatchObject([{ lease: { id: lease.id } }]);
});

test('only the first of settle and cancel counts', async () => {
  const { desk, engine } = deskWith();
  const lease = await admitted(desk);
  await lease.start(never);
  await lease.settle('completed', ESTIMATE, null);
  await lease.settle('brokeMidStream', ESTIMATE, null);
  await lease.cancel();
  expect(engine.settled).toHaveLength(1);
  expect(engine.cancelled).toEqual([]);
});

test('outcomes that refund carry no use', async () => {
  const { desk, engine } = deskWith();
  const lease = await admitted(desk);
  await lease.start(never);
  await lease.settle('refusedRate', ESTIMATE, null);
  expect(engine.settled[0]?.actual).toMatchObject({ requests: 0, inputTokens: 0, nanoCost: 0 });
});

test('usage that no integer can hold is charged by the reservation', async () => {
  const { desk, engine } = deskWith();
  const lease = await admitted(desk);
  await lease.start(never);
  await lease.settle('completed', { inputTokens: 2 ** 60, cachedTokens: 0, outputTokens: 0 }, null);
  expect(engine.settled[0]?.actual).toEqual(engine.asked[0]?.reserve);
});

test('leases are beaten for three times a lifetime, and nothing is sent when there are none', async () => {
  const { desk, engine, clock } = deskWith();
  const lease = await admitted(desk);
  await clock.advance(16_000);
  expect(engine.beats).toBeGreaterThanOrEqual(2);
  await lease.start(never);
  await lease.settle('completed', ESTIMATE, null);
  await clock.advance(6000);
  const { beats } = engine;
  await clock.advance(60_000);
  expect(engine.beats).toBe(beats);
});

test('a beat without an answer is given up after two seconds and tried again', async () => {
  const { desk, engine, clock } = deskWith();
  await admitted(desk);
  const answer = engine.onBeat;
  engine.onBeat = () => {
    engine.onBeat = answer;
    return new Promise(() => undefined);
  };
  await clock.advance(8000);
  expect(engine.beats).toBe(2);
});

test('a lost lease that has not started is aborted and does not start', async () => {
  const { desk, engine, clock } = deskWith();
  const lease = await admitted(desk);
  engine.onBeat = () => ({ kind: 'alive', epoch: 1, serverNowMs: engine.serverNowMs, lost: [lease.id] });
  await clock.advance(6000);
  expect(lease.signal.aborted).toBe(true);
  expect(await lease.start(never)).toBe(false);
});

test('a lost lease whose stream runs goes on and settles late', async () => {
  const { desk, engine, clock } = deskWith();
  const lease = await admitted(desk);
  await lease.start(never);
  engine.onBeat = () => ({ kind: 'alive', epoch: 1, serverNowMs: engine.serverNowMs, lost: [lease.id] });
  await clock.advance(6000);
  expect(lease.signal.aborted).toBe(false);
  engine.onSettle = () => ({ kind: 'settled', late: true, overdraft: false });
  expect(await lease.settle('completed', ESTIMATE, null)).toEqual({ late: true });
});

test('a lease that was not heard of for two beats is claimed before it starts, and does not start if it is gone', async () => {
  const { desk, engine, clock } = deskWith();
  const [kept, gone] = [await admitted(desk), await admitted(desk)];
  engine.down = true;
  await clock.advance(11_000);
  engine.down = false;
  expect(await kept.start(never)).toBe(true);
  engine.onClaim = () => false;
  expect(await gone.start(never)).toBe(false);
  expect(engine.claims).toBe(2);
});

test('a call is cut at its maxRuntime', async () => {
  const { desk, clock } = deskWith(snapshotOf({ maxRuntimeMs: 90_000 }));
  const lease = await admitted(desk);
  await lease.start(never);
  await clock.advance(89_000);
  expect(lease.signal.aborted).toBe(false);
  await clock.advance(1001);
  expect(lease.signal.aborted).toBe(true);
});

test('a call that our side cut keeps its slot for two seconds, but not its place in the per-agent limit', async () => {
  const { desk, engine, clock } = deskWith(snapshotOf({ perAgentConcurrency: 1 }));
  const lease = await admitted(desk);
  await lease.start(never);
  const settling = lease.settle('brokeMidStream', ESTIMATE, null, { cutByUs: true });
  expect(desk.inFlight).toBe(0);
  await clock.advance(1900);
  expect(engine.settled).toEqual([]);
  await clock.advance(200);
  await settling;
  expect(engine.settled).toHaveLength(1);
});

test('draining settles everything in one call: by what callers saw, by the reserve, or not at all', async () => {
  const { desk, engine } = deskWith();
  const [listening, silent, unused, cut] = [
    await admitted(desk),
    await admitted(desk),
    await admitted(desk),
    await admitted(desk),
  ];
  for (const lease of [listening, silent, cut]) await lease.start(never);
  const seen = { inputTokens: 10, cachedTokens: 0, outputTokens: 3 };
  listening.signal.addEventListener('abort', () => void listening.settle('brokeMidStream', seen, null));
  void cut.settle('brokeMidStream', { ...seen, outputTokens: 9 }, null, { cutByUs: true });
  await desk.drain(never);
  expect(engine.settleCalls).toEqual([4]);
  const byId = new Map(engine.settled.map((each) => [each.id, each]));
  expect(byId.get(listening.id)).toMatchObject({ outcome: 'brokeMidStream', actual: { outputTokens: 3 } });
  expect(byId.get(silent.id)).toMatchObject({ outcome: 'brokeMidStream', actual: engine.asked[1]?.reserve });
  expect(byId.get(unused.id)).toMatchObject({ outcome: 'neverSent' });
  expect(byId.get(cut.id)).toMatchObject({ outcome: 'brokeMidStream', actual: { outputTokens: 9 } });
  expect(await desk.admit(CALL, never)).toMatchObject({ kind: 'unavailable' });
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
  await lease.settle('completed', ESTIMATE, null);
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
