import { afterEach, expect, test } from 'vitest';
import { AppError } from '#sidecar/base/errors.ts';
import { settled, snapshotOf } from './fixtures.ts';
import { admitMany, admitted, CALL, closeDesks, deskWith, never, PATIENT, WHOLE } from './desk-fixture.ts';

afterEach(closeDesks);

const narrow = (allowed = 1) => deskWith(snapshotOf({ ...PATIENT, perAgentConcurrency: allowed }));

test('a call beyond the limit of its pod waits here, and Redis hears nothing of it', async () => {
  const { desk, engine } = narrow();
  const first = await admitted(desk);
  const second = admitted(desk);
  await settled();
  expect(engine.asked).toHaveLength(1);
  void first.settle(WHOLE);
  expect(await second).toMatchObject({ warnings: [] });
});

test('Q9 the call that waits here is asked for in the trip that settles the one before, as a newcomer', async () => {
  const { desk, engine } = narrow();
  const first = await admitted(desk);
  const second = admitted(desk);
  await settled();
  void first.settle(WHOLE);
  const next = await second;
  expect(engine.swaps).toHaveLength(1);
  expect(engine.swaps[0]).toMatchObject({ settlement: { id: first.id, outcome: 'completed' }, next: { id: next.id } });
  expect(next.id).not.toBe(first.id);
  expect([engine.asked.length, engine.settleCalls.length]).toEqual([1, 0]);
});

test('an uncontended call is one question and one settlement', async () => {
  const { desk, engine, clock } = narrow();
  const lease = await admitted(desk);
  await lease.start(never);
  await lease.settle(WHOLE);
  await clock.advance(60_000);
  expect([engine.asked.length, engine.settleCalls, engine.swaps.length]).toEqual([1, [1], 0]);
  expect([engine.claims, engine.beats, engine.ticks, engine.snapshots, engine.listening]).toEqual([0, 0, 0, 0, 0]);
});

test('calls of a pod get their turns in the order they came', async () => {
  const { desk } = narrow();
  const order: number[] = [];
  const first = await admitted(desk);
  const others = [1, 2, 3].map(async (number) => {
    const lease = await admitted(desk);
    order.push(number);
    void lease.settle(WHOLE);
  });
  await settled();
  void first.settle(WHOLE);
  await Promise.all(others);
  expect(order).toEqual([1, 2, 3]);
});

test('a call that waits for its pod in vain is refused by its limit', async () => {
  const { desk, clock } = narrow();
  await admitted(desk);
  const second = desk.admit(CALL, never);
  await clock.advance(61_000);
  expect(await second).toMatchObject({ kind: 'denied', reason: 'PerAgent', used: 1, amount: 1 });
});

test('a caller that leaves while it waits for its pod makes way for the next', async () => {
  const { desk } = narrow();
  const first = await admitted(desk);
  const gone = new AbortController();
  const left = desk.admit(CALL, gone.signal).catch((error: unknown) => error);
  const third = admitted(desk);
  await settled();
  gone.abort(new Error('gone'));
  expect(await left).toMatchObject({ message: 'gone' });
  void first.settle(WHOLE);
  await third;
  expect(desk.inFlight).toBe(1);
});

test('a cancelled lease lets the next call ask for itself', async () => {
  const { desk, engine } = narrow();
  const first = await admitted(desk);
  const second = admitted(desk);
  await settled();
  await first.cancel();
  await second;
  expect([engine.swaps.length, engine.asked.length]).toEqual([0, 2]);
});

test('a swap whose question is queued waits like any other call', async () => {
  const { desk, engine } = narrow();
  const first = await admitted(desk);
  const second = admitted(desk);
  await settled();
  engine.onAcquire = ({ id }) => engine.queued(id);
  void first.settle(WHOLE);
  await settled();
  engine.pushGrant(engine.swaps[0]!.next.id);
  expect((await second).id).toBe(engine.swaps[0]!.next.id);
});

test('a swap that Redis does not answer: the settlement is delivered later, the call asks once Redis is back', async () => {
  const { desk, engine, clock } = narrow();
  const first = await admitted(desk);
  const second = admitted(desk);
  await settled();
  engine.down = true;
  void first.settle(WHOLE);
  await clock.advance(3000);
  engine.down = false;
  await clock.advance(6000);
  await second;
  expect(engine.settled.map(({ id }) => id)).toEqual([first.id]);
});

test('a swap that meets a new epoch registers, settles and asks one after the other', async () => {
  const { desk, engine } = narrow();
  const first = await admitted(desk);
  const second = admitted(desk);
  await settled();
  engine.epoch = 2;
  let told = false;
  engine.onSettle = () => {
    if (told) return { kind: 'settled', late: false, overdraft: false };
    told = true;
    return { kind: 'epoch', epoch: 2 };
  };
  engine.onAcquire = (request) => (request.epoch === 2 ? engine.grant(request.id) : { kind: 'epoch', epoch: 2 });
  void first.settle(WHOLE);
  await second;
  expect(engine.registered).toHaveLength(1);
  expect(engine.settleCalls).toEqual([1]);
});

test('Q9 a call of the same leaf that waits in Redis is asked for with a settlement, and granted by its answer', async () => {
  const { desk, engine } = deskWith(snapshotOf(PATIENT));
  const first = await admitted(desk);
  engine.queueFirst(1);
  const second = admitted(desk);
  await settled();
  void first.settle(WHOLE);
  const lease = await second;
  expect(engine.swaps).toHaveLength(1);
  expect(engine.swaps[0]?.next.id).toBe(lease.id);
  expect(engine.asked).toHaveLength(2);
});

test('a settlement whose waiting call is not granted leaves it waiting, with its new position and time', async () => {
  const { desk, engine, clock } = deskWith(snapshotOf(PATIENT));
  const first = await admitted(desk);
  engine.onAcquire = ({ id }) => engine.queued(id, { position: 5 });
  void desk.admit(CALL, never).catch(() => undefined);
  await settled();
  engine.onAcquire = ({ id }) => engine.queued(id, { position: 1, nextTickMs: engine.serverNowMs + 300 });
  await first.settle(WHOLE);
  expect(desk.waiting()).toMatchObject([{ position: 1 }]);
  await clock.advance(310);
  expect(engine.ticks).toBe(1);
});

test('a push that overtakes the answer of a swap grants the call once', async () => {
  const { desk, engine, clock } = deskWith(snapshotOf(PATIENT));
  const first = await admitted(desk);
  engine.queueFirst(1);
  const second = admitted(desk);
  await settled();
  const { id } = engine.asked[1]!;
  const grant = engine.grant(id);
  const answer = Promise.withResolvers<void>();
  engine.onAcquire = async () => {
    await answer.promise;
    return grant;
  };
  void first.settle(WHOLE);
  engine.push({ kind: 'granted', id, grant });
  const lease = await second;
  await lease.start(never);
  await lease.settle(WHOLE);
  answer.resolve();
  await clock.advance(6000);
  expect(engine.settled.map((each) => each.id)).toEqual([first.id, id]);
  expect(engine.beaten.flatMap(({ leases }) => leases).filter((each) => each.id === id)).toEqual([]);
});

test('a drain asks for nothing with what it settles', async () => {
  const { desk, engine } = deskWith(snapshotOf(PATIENT));
  const first = await admitted(desk);
  await first.start(never);
  engine.onAcquire = ({ id }) => engine.queued(id);
  void desk.admit(CALL, never);
  await settled();
  await desk.drain(never);
  expect(engine.swaps).toEqual([]);
  expect(engine.settled).toMatchObject([{ id: first.id }]);
});

test('a swap that is refused for its settlement or its question tells both apart', async () => {
  const { desk, engine } = narrow();
  const first = await admitted(desk);
  const second = admitted(desk);
  await settled();
  engine.swap = async () => {
    throw new AppError('invalid', 'not a settlement');
  };
  void first.settle(WHOLE);
  await second;
  expect([engine.settleCalls, engine.asked.length]).toEqual([[1], 2]);
});

test('a raised limit of the pod lets waiting calls in, oldest first', async () => {
  const { desk, snapshots } = narrow();
  await admitted(desk);
  const second = admitMany(desk, 1);
  const third = admitMany(desk, 1);
  await settled();
  snapshots.set(snapshotOf({ ...PATIENT, perAgentConcurrency: 2 }, 8));
  await settled();
  expect([second.length, third.length]).toEqual([1, 0]);
});

test('a caller that has just left gets no turn', async () => {
  const { desk, engine } = narrow();
  const first = await admitted(desk);
  const gone = new AbortController();
  const left = desk.admit(CALL, gone.signal).catch((error: unknown) => error);
  const third = admitted(desk);
  await settled();
  gone.abort(new Error('gone'));
  void first.settle(WHOLE);
  await left;
  expect(engine.swaps[0]?.next.id).toBe((await third).id);
});

test('a drain lets calls go that wait for their pod', async () => {
  const { desk, engine } = narrow();
  await admitted(desk);
  const second = desk.admit(CALL, never);
  await settled();
  await desk.drain(never);
  expect(await second).toMatchObject({ kind: 'unavailable', message: 'the sidecar is shutting down' });
  expect(engine.swaps).toEqual([]);
});

test('F6 at most a thousand calls wait for their pod', async () => {
  const { desk } = narrow();
  await admitted(desk);
  admitMany(desk, 1000);
  await settled();
  expect(await desk.admit(CALL, never)).toMatchObject({ kind: 'denied', reason: 'QueueFull', used: 1000 });
});
