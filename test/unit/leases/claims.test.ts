/** What may happen while a lease is claimed because its process stood still (rule T2). */
import { afterEach, expect, test } from 'vitest';
import { AppError } from '#sidecar/base/errors.ts';
import { admitted, closeDesks, deskWith, never } from './desk-fixture.ts';
import { settled } from './fixtures.ts';

afterEach(closeDesks);

const cut = (): AppError => new AppError('unavailable', 'Redis cannot be asked: Connection is closed.');

test('T2 a claim whose connection was replaced under it is made once more', async () => {
  const { desk, engine, clock } = deskWith();
  const lease = await admitted(desk);
  await settled();
  let cuts = 1;
  engine.onClaim = () => {
    if (cuts-- > 0) throw cut();
    return true;
  };
  clock.wallMs += 60_000;
  expect(await lease.start(never)).toBe(true);
  expect(engine.claims).toBe(2);
});

test('T2 a claim that is cut off again says that Redis cannot be asked', async () => {
  const { desk, engine, clock } = deskWith();
  const lease = await admitted(desk);
  await settled();
  engine.onClaim = () => {
    throw cut();
  };
  clock.wallMs += 60_000;
  await expect(lease.start(never)).rejects.toMatchObject({ code: 'unavailable' });
  expect(engine.claims).toBe(2);
});

test('T2 a lease that a beat finds lost while it is claimed does not start, and that is no failure', async () => {
  const { desk, engine, clock } = deskWith();
  const lease = await admitted(desk);
  await settled();
  engine.onBeat = () => engine.alive({ lost: [lease.id] });
  engine.claim = (_lease, _options, signal?: AbortSignal) =>
    new Promise((_, reject) => signal?.addEventListener('abort', () => reject(signal.reason as Error)));
  clock.wallMs += 60_000;
  const starting = lease.start(never);
  await clock.advance(8000);
  expect(await starting).toBe(false);
});
