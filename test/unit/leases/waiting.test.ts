import { afterEach, expect, test } from 'vitest';
import { settled, snapshotOf } from './fixtures.ts';
import { CALL, closeDesks, deskWith, never, PATIENT, WHOLE } from './desk-fixture.ts';

afterEach(closeDesks);

const patient = () => deskWith(snapshotOf(PATIENT));

/** A desk with one call that waits. */
async function waitingDesk(spec = {}, signal = never) {
  const world = patient();
  world.engine.queueFirst(1);
  const admission = world.desk.admit({ ...CALL, place: () => 'place-1', ...spec }, signal);
  const outcome = admission.catch((error: unknown) => error);
  await settled();
  const id = world.engine.asked[0]!.id;
  return { ...world, admission, outcome, id };
}

test('a call asks with the wait of its quota and a name for its place', async () => {
  const { engine } = await waitingDesk();
  expect(engine.asked[0]).toMatchObject({ wait: { mode: 'UntilWindow', maxWaitMs: 60_000 }, place: 'place-1' });
});

test('W6 a caller shortens its wait, but does not lengthen it', async () => {
  const { engine, desk } = patient();
  await desk.admit({ ...CALL, claims: { maxWaitMs: 5000 } }, never);
  await desk.admit({ ...CALL, claims: { maxWaitMs: 3_600_000 } }, never);
  expect(engine.asked.map(({ wait }) => wait.maxWaitMs)).toEqual([5000, 60_000]);
});

test('a call that may not wait is asked for no place', async () => {
  const { engine, desk } = deskWith();
  const place = (): string => {
    throw new Error('must not be asked');
  };
  await desk.admit({ ...CALL, place }, never);
  expect(engine.asked[0]).toMatchObject({ wait: { mode: 'Reject', maxWaitMs: 0 }, place: null });
});

test('a queued call is admitted by its pushed grant', async () => {
  const { engine, admission, id, desk } = await waitingDesk();
  expect(desk.waiting()).toMatchObject([{ position: 1 }]);
  engine.pushGrant(id);
  expect(await admission).toMatchObject({ kind: 'admitted', lease: { id } });
  expect(desk.waiting()).toEqual([]);
});

test('a queued call is refused by its pushed denial, with the time to come back in local time', async () => {
  const { engine, admission, id, clock } = await waitingDesk();
  const denial = engine.denied({ reason: 'Window', limit: 'five-hour', retryAtMs: engine.serverNowMs + 9000 });
  engine.push({ kind: 'denied', id, denial });
  expect(await admission).toMatchObject({ kind: 'denied', limit: 'five-hour', retryAtMs: clock.nowMs() + 9000 });
});

test('a push that was lost is made up for by the next beat', async () => {
  const { engine, admission, id, clock } = await waitingDesk();
  engine.onBeat = () => engine.alive({ notices: [{ kind: 'granted', id, grant: engine.grant(id) }] });
  await clock.advance(6000);
  expect(await admission).toMatchObject({ kind: 'admitted' });
});

test('once the subscription stands a beat asks for what was pushed before', async () => {
  const { engine, id } = await waitingDesk();
  expect(engine.listening).toBe(1);
  expect(engine.beaten.map(({ waiters }) => waiters)).toEqual([[id]]);
});

test('beats name the waiting calls and tell their position', async () => {
  const { engine, id, desk, clock } = await waitingDesk();
  engine.onBeat = () => engine.alive({ waiting: [{ id, position: 3, etaMs: 1500 }] });
  await clock.advance(6000);
  expect(engine.beaten.at(-1)?.waiters).toEqual([id]);
  expect(desk.waiting()).toMatchObject([{ position: 3, etaMs: 1500 }]);
});

test('a waiting call that Redis lost asks again with its id and place, for what is left of its wait', async () => {
  const { engine, admission, id, clock } = await waitingDesk();
  engine.onBeat = () => engine.alive({ lost: [id] });
  await clock.advance(6000);
  expect(await admission).toMatchObject({ kind: 'admitted' });
  expect(engine.asked).toHaveLength(2);
  expect(engine.asked[1]).toMatchObject({ id, place: 'place-1' });
  const { maxWaitMs } = engine.asked[1]!.wait;
  expect(maxWaitMs).toBeGreaterThanOrEqual(54_000);
  expect(maxWaitMs).toBeLessThan(56_000);
});

test('a waiting call whose id was used up without its hearing goes on under another one', async () => {
  const { engine, admission, id, clock } = await waitingDesk();
  engine.onBeat = () => engine.alive({ lost: [id] });
  engine.onAcquire = (request) => (request.id === id ? { kind: 'done' } : engine.grant(request.id));
  await clock.advance(6000);
  expect(await admission).toMatchObject({ kind: 'admitted' });
  expect(new Set(engine.asked.map((request) => request.id)).size).toBe(2);
});

test('T7 a new epoch while a call waits: it registers, and asks again', async () => {
  const { engine, admission, id, clock } = await waitingDesk();
  engine.epoch = 2;
  engine.onBeat = (request) => (request.epoch === 2 ? engine.alive() : { kind: 'epoch', epoch: 2 });
  await clock.advance(6000);
  expect(await admission).toMatchObject({ kind: 'admitted' });
  expect(engine.registered).toHaveLength(1);
  expect(engine.asked.map((request) => [request.id, request.epoch])).toEqual([
    [id, null],
    [id, 2],
  ]);
});

test('T5 a caller that leaves the queue is cancelled at once and its place kept', async () => {
  const gone = new AbortController();
  const { engine, outcome, id, desk } = await waitingDesk({}, gone.signal);
  gone.abort(new Error('gone'));
  expect(await outcome).toMatchObject({ message: 'gone' });
  expect(engine.kept).toEqual([id]);
  expect([desk.inFlight, desk.waiting()]).toEqual([0, []]);
});

test('T5 a grant that crosses with its cancellation is not used', async () => {
  const gone = new AbortController();
  const { engine, outcome, id, clock } = await waitingDesk({}, gone.signal);
  gone.abort(new Error('gone'));
  engine.pushGrant(id);
  await outcome;
  await clock.advance(12_000);
  expect(engine.cancelled).toEqual([id]);
  expect(engine.beaten.flatMap(({ leases }) => leases)).toEqual([]);
});

test('a call past its time hears from Redis why it waited in vain', async () => {
  const { engine, admission, clock } = await waitingDesk();
  engine.onAcquire = () => engine.denied({ reason: 'Concurrency' });
  await clock.advance(59_999);
  expect(engine.asked).toHaveLength(1);
  await clock.advance(100);
  expect(await admission).toMatchObject({ kind: 'denied', reason: 'Concurrency' });
});

test('a call past its time that Redis still lets wait is taken out and told its place', async () => {
  const { engine, admission, id, clock } = await waitingDesk();
  engine.onAcquire = () => engine.queued(id, { position: 4 });
  await clock.advance(61_000);
  expect(await admission).toMatchObject({ kind: 'denied', reason: 'Waiting', limit: 'queue' });
  expect(engine.cancelled).toEqual([id]);
  expect(engine.kept).toEqual([]);
});

test('a drain lets waiting calls go at once as unavailable, and takes them out of the queue', async () => {
  const { engine, admission, id, desk } = await waitingDesk();
  await desk.drain(never);
  expect(await admission).toMatchObject({ kind: 'unavailable', message: 'the sidecar is shutting down' });
  expect(engine.cancelled).toEqual([id]);
});

test('T2 a pushed grant starts without asking while the last answer is recent, and claims otherwise', async () => {
  const { engine, admission, id } = await waitingDesk();
  engine.pushGrant(id);
  const first = await admission;
  if (first.kind !== 'admitted') throw new Error(first.kind);
  expect(await first.lease.start(never)).toBe(true);
  expect(engine.claims).toBe(0);
});

test('T2 a pushed grant is dated by the server, not by its receipt', async () => {
  const { engine, admission, id } = await waitingDesk();
  // Granted ten seconds ago by the server's clock, though it comes in now.
  engine.pushGrant(id, { grantedAtMs: engine.serverNowMs - 9_900 });
  const first = await admission;
  if (first.kind !== 'admitted') throw new Error(first.kind);
  engine.onClaim = () => false;
  expect(await first.lease.start(never)).toBe(false);
  expect(engine.claims).toBe(1);
});

test('a pushed grant never starts earlier than its call was asked for', async () => {
  const { engine, admission, id, clock } = await waitingDesk();
  await clock.advance(3000);
  engine.serverNowMs += 3000;
  engine.pushGrant(id);
  const first = await admission;
  if (first.kind !== 'admitted') throw new Error(first.kind);
  await first.lease.start(never);
  await clock.advance(500);
  first.lease.noteFirstByte();
  void first.lease.settle(WHOLE);
  // The server's clock was read when the subscription stood; the grant came three seconds later.
  expect(engine.settled[0]).toMatchObject({ sentAfterMs: 0, firstByteAfterMs: 500 });
});

test('T2 a pushed grant that was long on its way counts from its grant', async () => {
  const { engine, admission, id, clock } = await waitingDesk();
  await clock.advance(3000);
  engine.pushGrant(id, { grantedAtMs: engine.serverNowMs + 1000 });
  const first = await admission;
  if (first.kind !== 'admitted') throw new Error(first.kind);
  expect(first.lease.ttlMs).toBe(15_000);
  await first.lease.start(never);
  first.lease.noteFirstByte();
  void first.lease.settle(WHOLE);
  expect(engine.settled[0]).toMatchObject({ sentAfterMs: 0, firstByteAfterMs: 2000 });
});

test('a call that is queued just after its binding moved asks in the new tree', async () => {
  const world = patient();
  const { engine, desk, snapshots } = world;
  const answer = Promise.withResolvers<void>();
  engine.onAcquire = async ({ id }) => {
    await answer.promise;
    return engine.queued(id);
  };
  const admission = desk.admit(CALL, never);
  await settled();
  snapshots.set(snapshotOf({ ...PATIENT, treeKey: 'other' }, 8));
  await settled();
  engine.onAcquire = ({ id }) => engine.grant(id);
  answer.resolve();
  expect(await admission).toMatchObject({ kind: 'admitted' });
  expect(engine.asked.at(-1)?.generation).toBe(8);
});

test('a waiting call whose binding moved to another tree asks there', async () => {
  const { engine, admission, id, snapshots } = await waitingDesk();
  snapshots.set(snapshotOf({ ...PATIENT, treeKey: 'other' }, 8));
  expect(await admission).toMatchObject({ kind: 'admitted' });
  expect(engine.cancelled).toContain(id);
  expect(engine.asked.at(-1)?.generation).toBe(8);
});

test('a call that waited while the configuration was withdrawn is given back', async () => {
  const { engine, admission, id, snapshots } = await waitingDesk();
  snapshots.set(null);
  engine.pushGrant(id);
  expect(await admission).toMatchObject({ kind: 'unavailable', message: expect.stringContaining('configuration') });
  expect(engine.cancelled).toEqual([id]);
});

test('waiting calls and how long they waited are counted', async () => {
  const { engine, admission, id, clock, registry } = await waitingDesk();
  expect(await registry.metrics()).toContain('glmquota_calls_waiting 1');
  await clock.advance(3000);
  engine.pushGrant(id);
  await admission;
  const text = await registry.metrics();
  expect(text).toContain('glmquota_calls_waiting 0');
  expect(text).toContain('glmquota_wait_seconds_sum{ended="granted"} 3');
});

test('a call that is decided at once counts as no wait', async () => {
  const { desk, registry } = patient();
  await desk.admit(CALL, never);
  expect(await registry.metrics()).toContain('glmquota_wait_seconds_count{ended="granted"} 0');
});
