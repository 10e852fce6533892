import { afterEach, describe, expect, test } from 'vitest';
import { settled } from './fixtures.ts';
import { admitMany, admitted, CALL, closeDesks, never, WHOLE } from './desk-fixture.ts';
import { outage, treeOf } from './outage-fixture.ts';

afterEach(closeDesks);

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
    const started = admitMany(desk, 3);
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

  test('a window is spent up to the share of what was left at the last look, by all calls since', async () => {
    const { engine, desk, clock } = await outage();
    engine.down = false;
    engine.tree = treeOf(9, 5);
    // Looked at again after half a minute.
    const [old, running] = [await admitted(desk), await admitted(desk)];
    await clock.advance(40_000);
    const since = await admitted(desk);
    await since.start(never);
    await since.settle(WHOLE);
    // Was part of what was read.
    await old.settle({ ...WHOLE, outcome: 'neverSent' });
    const refunded = await admitted(desk);
    await refunded.settle({ ...WHOLE, outcome: 'neverSent' });
    engine.down = true;
    const started = admitMany(desk, 8);
    await clock.advance(20_000);
    expect(started).toHaveLength(4);
    await running.settle(WHOLE);
  });

  test('a local call that ends when Redis is back is made known first, and asks for nothing in the same trip', async () => {
    const { engine, desk, clock } = await outage({}, { perAgentConcurrency: 1 });
    const started = desk.admit(CALL, never);
    await clock.advance(4000);
    const local = await started;
    if (local.kind !== 'admitted') throw new Error(local.kind);
    await local.lease.start(never);
    const next = desk.admit(CALL, never);
    await settled();
    engine.down = false;
    await local.lease.settle(WHOLE);
    expect(await next).toMatchObject({ kind: 'admitted' });
    expect(engine.registered.flatMap(({ leases }) => leases.map(({ lease }) => lease.id))).toEqual([local.lease.id]);
    expect(engine.swaps).toEqual([]);
    expect(engine.settled.at(-1)?.id).toBe(local.lease.id);
  });

  test('a local call is made known once, if Redis has lost its memory as well', async () => {
    const { engine, desk, clock } = await outage();
    const started = admitMany(desk, 2);
    await clock.advance(4000);
    for (const lease of started) await lease.start(never);
    engine.down = false;
    engine.epoch = 2;
    engine.onAcquire = (request) => (request.epoch === 2 ? engine.grant(request.id) : { kind: 'epoch', epoch: 2 });
    await admitted(desk);
    await clock.advance(12_000);
    const known = engine.registered.flatMap(({ leases }) => leases.map(({ lease }) => lease.id));
    expect(known.toSorted()).toEqual(started.map(({ id }) => id).toSorted());
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
