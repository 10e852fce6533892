import { afterEach, describe, expect, test } from 'vitest';
import { AppError } from '#sidecar/base/errors.ts';
import type { SidecarSnapshot } from '#sidecar/control/terms.ts';
import type { NodeSnapshot, TreeSnapshot } from '#sidecar/engine/terms.ts';
import type { HeldLease } from '#sidecar/leases/terms.ts';
import { settled, snapshotOf } from './fixtures.ts';
import { admitted, CALL, closeDesks, deskWith, never, PATIENT, WHOLE } from './desk-fixture.ts';

afterEach(closeDesks);

type StoreFailure = SidecarSnapshot['binding']['onStoreFailure'];

function nodeOf(name: string, concurrency: number | null): NodeSnapshot {
  const state = { stopped: false, queued: 0, frozenUntilMs: null, breaker: 'Closed' } as const;
  return { name, inFlight: 0, concurrency, usage: [], ...state };
}

function treeOf(concurrency: number): TreeSnapshot {
  return {
    key: 'tree',
    epoch: 1,
    revision: { leaseCreatedMs: 1, transitions: 0, generation: 7 },
    configHash: '',
    serverNowMs: 0,
    nodes: [nodeOf('account', concurrency), nodeOf('quota:team/a', null), nodeOf('model:other', null)],
    leases: 0,
  };
}

/** A desk that knows its limits, and whose Redis is away since just now. */
async function outage(change: Partial<StoreFailure> = {}, binding: Partial<SidecarSnapshot['binding']> = {}) {
  const onStoreFailure = { policy: 'LocalShare', localSharePercent: 100, maxDurationMs: 300_000, ...change } as const;
  const world = deskWith(snapshotOf({ ...PATIENT, onStoreFailure, ...binding }));
  const { engine, desk, clock } = world;
  engine.tree = treeOf(2);
  const lease = await admitted(desk);
  await clock.advance(6000);
  await lease.start(never);
  await lease.settle(WHOLE);
  await clock.advance(6000);
  engine.down = true;
  return world;
}

describe('Closed', () => {
  test('a call waits here until Redis is back', async () => {
    const { engine, desk, clock } = await outage({ policy: 'Closed' });
    const admission = desk.admit(CALL, never);
    await clock.advance(30_000);
    engine.down = false;
    await clock.advance(1000);
    expect(await admission).toMatchObject({ kind: 'admitted' });
  });

  test('a call whose time is over first is unavailable, and its id cancelled once Redis is back', async () => {
    const { engine, desk, clock } = await outage({ policy: 'Closed' });
    const admission = desk.admit(CALL, never);
    await clock.advance(61_000);
    expect(await admission).toMatchObject({ kind: 'unavailable' });
    engine.down = false;
    await clock.advance(6000);
    expect(engine.cancelled).toEqual([engine.asked.at(-1)?.id]);
  });

  test('while calls wait, one of them asks for all whether Redis is back', async () => {
    const { engine, desk, clock } = await outage({ policy: 'Closed' });
    for (let calls = 0; calls < 20; calls++) void desk.admit(CALL, never).catch(() => undefined);
    await clock.advance(10_000);
    expect(engine.ticks).toBeGreaterThan(20);
    expect(engine.ticks).toBeLessThan(60);
    expect(engine.asked).toHaveLength(1 + 20);
  });

  test('a caller that leaves while it waits for Redis is let go', async () => {
    const { desk, clock } = await outage({ policy: 'Closed' });
    const gone = new AbortController();
    const outcome = desk.admit(CALL, gone.signal).catch((error: unknown) => error);
    await clock.advance(1000);
    gone.abort(new Error('gone'));
    expect(await outcome).toMatchObject({ message: 'gone' });
    expect(desk.inFlight).toBe(0);
  });

  test('a call that must not wait is unavailable at once', async () => {
    const { desk } = await outage({ policy: 'Closed' }, { waiting: { mode: 'Reject', maxWaitMs: 0 } });
    expect(await desk.admit(CALL, never)).toMatchObject({ kind: 'unavailable' });
  });

  test('a Redis that answers all but acquire is not asked without a pause', async () => {
    const { engine, desk, clock } = await outage({ policy: 'Closed' });
    engine.down = false;
    engine.onAcquire = () => {
      throw new AppError('unavailable', 'OOM');
    };
    const outcome = desk.admit(CALL, never);
    await clock.advance(10_000);
    expect(engine.asked.length).toBeLessThan(60);
    engine.onAcquire = ({ id }) => engine.grant(id);
    await clock.advance(2000);
    expect(await outcome).toMatchObject({ kind: 'admitted' });
  });
});

describe('F4 LocalShare', () => {
  test('starts calls up to the share, once Redis has been away for a moment', async () => {
    const { desk, clock, registry } = await outage();
    const calls = [1, 2, 3].map(() => desk.admit(CALL, never));
    let decided = 0;
    for (const call of calls) void call.then(() => decided++);
    await clock.advance(1900);
    expect(decided).toBe(0);
    await clock.advance(2000);
    expect(decided).toBe(2);
    expect(await registry.metrics()).toContain('glmquota_local_grants_total{policy="LocalShare"} 2');
    expect(await registry.metrics()).toContain('glmquota_store_outages_total{policy="LocalShare"} 1');
  });

  test('a call that ends makes room for the next', async () => {
    const { desk, clock } = await outage();
    const started: HeldLease[] = [];
    for (let calls = 0; calls < 3; calls++) void admitted(desk).then((lease) => started.push(lease));
    await clock.advance(4000);
    expect(started).toHaveLength(2);
    await started[0]?.start(never);
    void started[0]?.settle(WHOLE);
    await settled();
    expect(started).toHaveLength(3);
  });

  test('what was started is made known to Redis when it is back, before it is settled', async () => {
    const { engine, desk, clock } = await outage();
    const [running, ended] = [desk.admit(CALL, never), desk.admit(CALL, never)];
    await clock.advance(4000);
    const [first, second] = [await running, await ended];
    if (first.kind !== 'admitted' || second.kind !== 'admitted') throw new Error('not admitted');
    await first.lease.start(never);
    await second.lease.start(never);
    void second.lease.settle(WHOLE);
    const before = engine.settled.length;
    await clock.advance(10_000);
    engine.down = false;
    await clock.advance(6000);
    const known = engine.registered.flatMap(({ leases }) => leases.map(({ lease, sent }) => [lease.id, sent]));
    expect(known).toEqual(
      expect.arrayContaining([
        [first.lease.id, true],
        [second.lease.id, true],
      ]),
    );
    expect(engine.settled.slice(before)).toMatchObject([{ id: second.lease.id, outcome: 'completed' }]);
    await clock.advance(6000);
    expect(engine.beaten.at(-1)?.leases.map(({ id }) => id)).toEqual([first.lease.id]);
  });

  test('the id that Redis was asked for is cancelled: the call goes on under another', async () => {
    const { engine, desk, clock } = await outage();
    const admission = desk.admit(CALL, never);
    await clock.advance(4000);
    const told = await admission;
    if (told.kind !== 'admitted') throw new Error(told.kind);
    const askedId = engine.asked.at(-1)!.id;
    expect(told.lease.id).not.toBe(askedId);
    engine.down = false;
    await clock.advance(6000);
    expect(engine.cancelled).toContain(askedId);
  });

  test('a call that waits in Redis starts here when Redis goes away', async () => {
    const { engine, desk, clock } = await outage();
    engine.down = false;
    engine.onAcquire = ({ id }) => engine.queued(id);
    const admission = desk.admit(CALL, never);
    await settled();
    engine.down = true;
    await clock.advance(15_000);
    expect(await admission).toMatchObject({ kind: 'admitted' });
  });

  test('nothing starts any more when its time is over', async () => {
    const { desk, clock } = await outage({ maxDurationMs: 10_000 });
    const early = desk.admit(CALL, never);
    await clock.advance(9000);
    expect(await early).toMatchObject({ kind: 'admitted' });
    await clock.advance(2000);
    const late = desk.admit({ ...CALL, claims: { maxWaitMs: 5000 } }, never);
    await clock.advance(6000);
    expect(await late).toMatchObject({ kind: 'unavailable' });
  });

  test('the limits are divided by the owners of the last beat', async () => {
    const { engine, desk, clock } = await outage();
    engine.down = false;
    engine.onBeat = () => engine.alive({ owners: 1_000_000 });
    const running = await admitted(desk);
    await clock.advance(6000);
    await running.start(never);
    await running.settle(WHOLE);
    engine.down = true;
    const other = desk.admit({ ...CALL, claims: { maxWaitMs: 5000 } }, never);
    await clock.advance(6000);
    expect(await other).toMatchObject({ kind: 'unavailable' });
  });

  test('a strict quota starts nothing that no replica has', async () => {
    const { desk, clock } = await outage({}, { durability: 'Strict' });
    const admission = desk.admit({ ...CALL, claims: { maxWaitMs: 5000 } }, never);
    await clock.advance(6000);
    expect(await admission).toMatchObject({ kind: 'unavailable' });
  });

  test('a cancelled local call is never told to Redis', async () => {
    const { engine, desk, clock } = await outage();
    const admission = desk.admit(CALL, never);
    await clock.advance(4000);
    const told = await admission;
    if (told.kind !== 'admitted') throw new Error(told.kind);
    await told.lease.cancel();
    engine.down = false;
    await clock.advance(6000);
    expect(engine.registered).toEqual([]);
    expect(engine.cancelled).not.toContain(told.lease.id);
  });
});

test('limits are read only for quotas that may start calls without Redis', async () => {
  const shared = await outage();
  expect(shared.engine.snapshots).toBe(1);
  const closed = await outage({ policy: 'Closed' });
  expect(closed.engine.snapshots).toBe(0);
});

test('Open starts everything, for its time', async () => {
  const { desk, clock, registry } = await outage({ policy: 'Open', maxDurationMs: 10_000 });
  const calls = [1, 2, 3, 4, 5].map(() => desk.admit(CALL, never));
  await clock.advance(4000);
  expect((await Promise.all(calls)).map(({ kind }) => kind)).toEqual(Array.from({ length: 5 }, () => 'admitted'));
  expect(await registry.metrics()).toContain('glmquota_local_grants_total{policy="Open"} 5');
});

describe('a strict quota', () => {
  const strict = () => deskWith(snapshotOf({ durability: 'Strict' }));

  test('T2 has its grant confirmed before the first byte', async () => {
    const { desk, engine } = strict();
    const lease = await admitted(desk);
    expect(await lease.start(never)).toBe(true);
    expect(engine.claimed).toMatchObject([{ lease: { id: lease.id }, isConfirmed: true }]);
  });

  test('sends nothing when no replica confirms', async () => {
    const { desk, engine } = strict();
    const lease = await admitted(desk);
    engine.down = true;
    await expect(lease.start(never)).rejects.toMatchObject({ code: 'unavailable' });
  });

  test('cuts a stream whose lease is lost, and does not put it back', async () => {
    const { desk, engine, clock } = strict();
    const lease = await admitted(desk);
    await lease.start(never);
    lease.signal.addEventListener(
      'abort',
      () => void lease.settle({ ...WHOLE, outcome: 'brokeMidStream', cutByUs: true }),
    );
    engine.onBeat = () => engine.alive({ lost: [lease.id] });
    await clock.advance(6000);
    expect(lease.signal.aborted).toBe(true);
    expect(engine.registered).toEqual([]);
    expect(engine.settled).toMatchObject([{ id: lease.id, outcome: 'brokeMidStream' }]);
  });
});

test('any other quota claims without waiting for a replica', async () => {
  const { desk, engine, clock } = deskWith();
  const lease = await admitted(desk);
  engine.down = true;
  await clock.advance(11_000);
  engine.down = false;
  await lease.start(never);
  expect(engine.claimed).toMatchObject([{ isConfirmed: false }]);
});
