import { afterEach, expect, test } from 'vitest';
import type { ErrorClass } from '#sidecar/catalog/terms.ts';
import type { Outcome } from '#sidecar/engine/terms.ts';
import { settled, snapshotOf } from './fixtures.ts';
import { admitted, CALL, closeDesks, deskWith, never, PATIENT, WHOLE } from './desk-fixture.ts';

afterEach(closeDesks);

const refused = (outcome: Outcome, kind: ErrorClass, resetAtMs: number | null = null) => ({
  outcome,
  failure: { class: kind, resetAtMs },
});
const FULL = refused('refusedConcurrency', 'Concurrency');
const BUSY = refused('refusedOverload', 'Overload');

/** A desk whose only call is on its way to the vendor. */
async function sentDesk(binding = {}, signal = never) {
  const world = deskWith(snapshotOf({ ...PATIENT, ...binding }));
  const admission = await world.desk.admit(CALL, signal);
  if (admission.kind !== 'admitted') throw new Error(admission.kind);
  const { lease } = admission;
  await lease.start(never);
  return { ...world, lease };
}

test('Q7 a refused call is settled and asked for again in one trip, under its id', async () => {
  const { lease, engine, clock } = await sentDesk();
  const again = lease.again(FULL);
  await clock.advance(1000);
  const next = await again;
  expect(engine.swaps).toMatchObject([
    { settlement: { id: lease.id, outcome: 'refusedConcurrency', sentAfterMs: 0 }, next: { id: lease.id } },
  ]);
  expect(next?.id).toBe(lease.id);
  expect(await next?.start(never)).toBe(true);
  await next?.settle(WHOLE);
  expect(engine.settled.map(({ fence }) => fence)).toEqual([1, 2]);
});

test('Q7 a call that had to wait for a slot is sent at once when it has one', async () => {
  const { lease, engine } = await sentDesk();
  engine.onAcquire = ({ id }) => engine.queued(id);
  const again = lease.again(FULL);
  await settled();
  engine.pushGrant(lease.id);
  expect((await again)?.id).toBe(lease.id);
});

test('Q7 after an overload the delay passes although a slot came sooner', async () => {
  const { lease, engine, clock } = await sentDesk();
  engine.onAcquire = ({ id }) => engine.queued(id);
  let isDue = false;
  const again = lease.again(BUSY).then((next) => ((isDue = true), next));
  await settled();
  engine.pushGrant(lease.id);
  await clock.advance(400);
  expect(isDue).toBe(false);
  await clock.advance(700);
  expect(await again).not.toBeNull();
});

test('Q7 the wait of all tries together is that of the call', async () => {
  const { lease, engine, clock } = await sentDesk();
  await clock.advance(50_000);
  void lease.again(FULL).catch(() => undefined);
  await settled();
  expect(engine.swaps[0]?.next.wait.maxWaitMs).toBe(10_000);
  await clock.advance(1000);
});

test('Q7 when attempts are over the call is settled and the answer final', async () => {
  const { lease, engine } = await sentDesk({ retry: { ...snapshotOf().binding.retry, maxAttempts: 1 } });
  expect(await lease.again(FULL)).toBeNull();
  expect(engine.settled).toMatchObject([{ outcome: 'refusedConcurrency' }]);
  expect(engine.swaps).toEqual([]);
});

test('a used-up window freezes the account until the stated time, and its answer is final if that is far', async () => {
  const { lease, engine, clock } = await sentDesk();
  const resetAtMs = clock.nowMs() + 3_600_000;
  expect(await lease.again(refused('refusedQuota', 'Quota', resetAtMs))).toBeNull();
  expect(engine.settled).toMatchObject([{ outcome: 'refusedQuota', frozenUntilMs: resetAtMs }]);
});

test('a call that is not admitted again leaves the vendor’s answer standing, and its place in the pod', async () => {
  const { lease, engine, desk } = await sentDesk({ perAgentConcurrency: 1 });
  engine.onAcquire = () => engine.denied({ reason: 'Frozen', limit: 'vendor' });
  expect(await lease.again(FULL)).toBeNull();
  expect(desk.inFlight).toBe(0);
});

test('a call keeps its place in the pod while it waits to be sent again', async () => {
  const { lease, engine, desk } = await sentDesk({ perAgentConcurrency: 1 });
  engine.onAcquire = ({ id }) => engine.queued(id);
  const again = lease.again(FULL);
  await settled();
  expect(desk.inFlight).toBe(1);
  engine.pushGrant(lease.id);
  await (await again)?.settle(WHOLE);
  expect(desk.inFlight).toBe(0);
});

test('T5 a caller that leaves before its call is sent again: the wait is cancelled', async () => {
  const gone = new AbortController();
  const { lease, engine, desk } = await sentDesk({}, gone.signal);
  engine.onAcquire = ({ id }) => engine.queued(id);
  const again = lease.again(FULL).catch((error: unknown) => error);
  await settled();
  gone.abort(new Error('gone'));
  expect(await again).toMatchObject({ message: 'gone' });
  expect(engine.cancelled).toEqual([lease.id]);
  expect(desk.inFlight).toBe(0);
});

test('T5 a caller that leaves during the delay: the slot is given back', async () => {
  const gone = new AbortController();
  const { lease, engine, desk } = await sentDesk({}, gone.signal);
  const again = lease.again(BUSY).catch((error: unknown) => error);
  await settled();
  gone.abort(new Error('gone'));
  expect(await again).toMatchObject({ message: 'gone' });
  expect(engine.cancelled).toEqual([lease.id]);
  expect(desk.inFlight).toBe(0);
});

test('a retry that Redis does not answer is given up: nobody knows which of the two leases the id means', async () => {
  const { lease, engine, clock, desk } = await sentDesk();
  engine.down = true;
  expect(await lease.again(FULL)).toBeNull();
  engine.down = false;
  await clock.advance(6000);
  expect(engine.settled).toMatchObject([{ id: lease.id, outcome: 'refusedConcurrency' }]);
  expect(engine.cancelled).toEqual([lease.id]);
  expect(desk.inFlight).toBe(0);
});

test('a retry whose settlement meets a new epoch goes on under another id', async () => {
  const { lease, engine, clock } = await sentDesk();
  engine.epoch = 2;
  let told = false;
  engine.onSettle = () => {
    if (told) return { kind: 'settled', late: false, overdraft: false };
    told = true;
    return { kind: 'epoch', epoch: 2 };
  };
  const again = lease.again(FULL);
  await clock.advance(1000);
  const next = await again;
  expect(next).not.toBeNull();
  expect(next?.id).not.toBe(lease.id);
});

test('a call refused after its binding moved to another tree is settled there and asked for here', async () => {
  const { lease, engine, snapshots, clock } = await sentDesk();
  snapshots.set(snapshotOf({ ...PATIENT, treeKey: 'other' }, 8));
  const again = lease.again(FULL);
  await clock.advance(1000);
  expect(await again).not.toBeNull();
  expect(engine.swaps).toEqual([]);
  expect(new Set(engine.asked.map(({ owner }) => owner)).size).toBe(2);
});

test('a drain ends the delay of a call that is to be sent again, and its answer is final', async () => {
  const { lease, desk } = await sentDesk();
  const again = lease.again(BUSY);
  await settled();
  await desk.drain(never);
  expect(await again).toBeNull();
});

test('calls sent again are counted by what the vendor said', async () => {
  const { lease, clock, registry } = await sentDesk();
  const again = lease.again(FULL);
  await clock.advance(1000);
  await again;
  expect(await registry.metrics()).toContain('glmquota_retries_total{class="Concurrency"} 1');
});

test('each wait of a call is counted for itself', async () => {
  const { engine, desk, clock, registry } = deskWith(snapshotOf(PATIENT));
  engine.queueFirst(1);
  const admission = admitted(desk);
  await settled();
  engine.pushGrant(engine.asked[0]!.id);
  const lease = await admission;
  await lease.start(never);
  const again = lease.again(FULL);
  await clock.advance(1000);
  await again;
  const text = await registry.metrics();
  expect(text).toContain('glmquota_calls_waiting 0');
  expect(text).toContain('glmquota_wait_seconds_count{ended="granted"} 1');
});

test('a lease that was asked for again is over: settling it changes nothing', async () => {
  const { lease, engine, clock } = await sentDesk();
  const again = lease.again(FULL);
  await clock.advance(1000);
  await again;
  await lease.settle(WHOLE);
  expect(engine.settled).toHaveLength(1);
  expect(await lease.again(FULL)).toBeNull();
});

test('the next call of the pod is not asked for by a settlement that repeats a call', async () => {
  const { lease, engine, desk, clock } = await sentDesk({ perAgentConcurrency: 1 });
  const other = admitted(desk);
  const again = lease.again(FULL);
  await clock.advance(1000);
  await (await again)?.settle(WHOLE);
  await other;
  expect(engine.swaps.map(({ next }) => next.id)).toEqual([lease.id, (await other).id]);
});
