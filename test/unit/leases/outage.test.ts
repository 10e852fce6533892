import { afterEach, describe, expect, test } from 'vitest';
import { AppError } from '#sidecar/base/errors.ts';
import { settled, snapshotOf } from './fixtures.ts';
import { CALL, closeDesks, never, PATIENT } from './desk-fixture.ts';
import { outage } from './outage-fixture.ts';

afterEach(closeDesks);

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

  test('when nobody waits for Redis any more only the beats ask whether it is back', async () => {
    const { engine, desk, clock } = await outage({ policy: 'Closed' });
    const gone = new AbortController();
    const outcome = desk.admit(CALL, gone.signal).catch((error: unknown) => error);
    await clock.advance(1000);
    gone.abort(new Error('gone'));
    await outcome;
    await clock.advance(1000);
    const { ticks } = engine;
    await clock.advance(10_000);
    // A beat that failed is made again a second later, each with a second try on a fresh connection.
    expect(engine.ticks - ticks).toBeLessThanOrEqual(20);
  });

  test('a call that waits for a Redis that is no longer its own asks the new one', async () => {
    const { engine, desk, clock, snapshots } = await outage({ policy: 'Closed' });
    const admission = desk.admit(CALL, never);
    await clock.advance(1000);
    snapshots.set(snapshotOf({ ...PATIENT, treeKey: 'other' }, 8));
    await settled();
    engine.down = false;
    await clock.advance(2000);
    expect(await admission).toMatchObject({ kind: 'admitted' });
    expect(engine.asked.at(-1)).toMatchObject({ generation: 8 });
    expect(engine.asked.at(-1)?.owner).not.toBe(engine.asked[0]?.owner);
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
