import { afterEach, expect, test } from 'vitest';
import { settled, snapshotOf } from './fixtures.ts';
import { admitted, CALL, closeDesks, deskWith, never, PATIENT, WHOLE } from './desk-fixture.ts';

afterEach(closeDesks);

const drained = snapshotOf({ ...PATIENT, drained: true }, 8);

test('a quota that is drained cuts its running calls', async () => {
  const { desk, snapshots } = deskWith();
  const lease = await admitted(desk);
  await lease.start(never);
  snapshots.set(drained);
  await settled();
  expect(lease.signal.reason).toMatchObject({ message: expect.stringContaining('stopped'), transient: false });
});

test('a quota that is drained gives up its waiting calls, and takes them out of the queue', async () => {
  const { desk, engine, snapshots } = deskWith(snapshotOf(PATIENT));
  engine.queueFirst(1);
  const waiting = desk.admit(CALL, never);
  await settled();
  snapshots.set(drained);
  expect(await waiting).toMatchObject({ kind: 'denied', reason: 'Stopped', limit: 'stop' });
  expect(engine.cancelled).toEqual([engine.asked[0]?.id]);
  expect(engine.kept).toEqual([]);
});

test('a quota that is drained gives up calls that wait for their pod', async () => {
  const { desk, snapshots } = deskWith(snapshotOf({ ...PATIENT, perAgentConcurrency: 1 }));
  await admitted(desk);
  const waiting = desk.admit(CALL, never);
  await settled();
  snapshots.set(drained);
  expect(await waiting).toMatchObject({ kind: 'denied', reason: 'Stopped' });
});

test('while a quota is drained nothing is asked of Redis; afterwards calls wait and run again', async () => {
  const { desk, engine, snapshots } = deskWith(snapshotOf(PATIENT));
  snapshots.set(drained);
  await settled();
  expect(await desk.admit(CALL, never)).toMatchObject({ kind: 'denied', reason: 'Stopped' });
  expect(engine.asked).toEqual([]);
  snapshots.set(snapshotOf(PATIENT, 9));
  engine.queueFirst(1);
  const waiting = admitted(desk);
  await settled();
  engine.pushGrant(engine.asked[0]!.id);
  await (await waiting).settle(WHOLE);
  expect(desk.inFlight).toBe(0);
});
