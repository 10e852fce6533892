import { afterEach, describe, expect, test } from 'vitest';
import { snapshotOf } from './fixtures.ts';
import { admitted, closeDesks, deskWith, never, WHOLE } from './desk-fixture.ts';

afterEach(closeDesks);

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
