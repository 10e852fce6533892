import { afterEach, expect, test } from 'vitest';
import { settled, snapshotOf } from './fixtures.ts';
import { CALL, closeDesks, deskWith, never, PATIENT } from './desk-fixture.ts';

afterEach(closeDesks);

/** A desk with one call that waits, whose engine wants to be asked again in `tickInMs`. */
async function waitingDesk(tickInMs: number | null, position = 1) {
  const world = deskWith(snapshotOf(PATIENT));
  const { engine, desk } = world;
  const nextTickMs = tickInMs === null ? null : engine.serverNowMs + tickInMs;
  engine.onAcquire = ({ id }) => engine.queued(id, { position, nextTickMs });
  engine.onBeat = () => engine.alive({ nextTickMs });
  const gone = new AbortController();
  const outcome = desk.admit(CALL, gone.signal).catch((error: unknown) => error);
  await settled();
  return { ...world, outcome, leave: () => gone.abort(new Error('gone')) };
}

test('the process of the next in line asks when the engine wants to be asked, once', async () => {
  const { engine, clock } = await waitingDesk(800);
  await clock.advance(799);
  expect(engine.ticks).toBe(0);
  await clock.advance(5);
  expect(engine.ticks).toBe(1);
  await clock.advance(2000);
  expect(engine.ticks).toBe(1);
});

test('others step in fifty milliseconds later', async () => {
  const { engine, clock } = await waitingDesk(800, 2);
  await clock.advance(845);
  expect(engine.ticks).toBe(0);
  await clock.advance(60);
  expect(engine.ticks).toBe(1);
});

test('an answer to the tick says when to ask again', async () => {
  const { engine, clock } = await waitingDesk(800);
  engine.onTick = () => engine.serverNowMs + 500;
  await clock.advance(810);
  expect(engine.ticks).toBe(1);
  await clock.advance(510);
  expect(engine.ticks).toBe(2);
});

test('an answer that comes late does not undo what a later one said', async () => {
  const { engine, clock } = await waitingDesk(6000);
  engine.onBeat = () => engine.alive({ serverNowMs: engine.serverNowMs - 1000, nextTickMs: null });
  await clock.advance(5600);
  expect(engine.beats).toBeGreaterThan(1);
  await clock.advance(500);
  expect(engine.ticks).toBe(1);
});

test('without a time nobody asks', async () => {
  const { engine, clock } = await waitingDesk(null);
  await clock.advance(4000);
  expect(engine.ticks).toBe(0);
});

test('several waiting calls of a process share one timer', async () => {
  const { engine, desk, clock } = await waitingDesk(800);
  for (let calls = 0; calls < 3; calls++) void desk.admit(CALL, never).catch(() => undefined);
  await settled();
  await clock.advance(900);
  expect(engine.ticks).toBe(1);
});

test('a beat sets the timer once, however many calls wait', async () => {
  const setBy = async (waiting: number): Promise<number> => {
    const { engine, desk, clock } = await waitingDesk(60_000);
    for (let calls = 1; calls < waiting; calls++) void desk.admit(CALL, never).catch(() => undefined);
    await settled();
    engine.onBeat = ({ waiters }) =>
      engine.alive({
        nextTickMs: engine.serverNowMs + 50_000,
        waiting: waiters.map((id, index) => ({ id, position: index + 2, etaMs: null })),
      });
    const before = clock.sleeps;
    await clock.advance(6000);
    expect(engine.beaten.at(-1)?.waiters).toHaveLength(waiting);
    return clock.sleeps - before;
  };
  expect(await setBy(500)).toBe(await setBy(1));
});

test('a call that joins others leaves the timer alone', async () => {
  const setBy = async (tickInMs: number | null): Promise<number> => {
    const { desk, clock } = await waitingDesk(tickInMs);
    const before = clock.sleeps;
    for (let calls = 0; calls < 100; calls++) void desk.admit(CALL, never).catch(() => undefined);
    await settled();
    return clock.sleeps - before;
  };
  expect(await setBy(800)).toBe(await setBy(null));
});

test('once nobody waits the timer is off', async () => {
  const { engine, clock, leave, outcome } = await waitingDesk(800);
  leave();
  await outcome;
  await clock.advance(2000);
  expect(engine.ticks).toBe(0);
});

test('a tick that fails is left to the next beat', async () => {
  const { engine, clock } = await waitingDesk(800);
  engine.down = true;
  await clock.advance(3000);
  expect(engine.ticks).toBe(1);
  engine.down = false;
  engine.serverNowMs += 3000;
  engine.onBeat = () => engine.alive({ nextTickMs: engine.serverNowMs + 100 });
  await clock.advance(4000);
  expect(engine.ticks).toBe(2);
});

test('the subscription ends half a minute after its last waiter', async () => {
  const { engine, clock, leave, outcome } = await waitingDesk(null);
  leave();
  await outcome;
  await clock.advance(29_000);
  expect(engine.listening).toBe(1);
  await clock.advance(2000);
  expect(engine.listening).toBe(0);
});

test('a subscription that breaks is made anew, and a beat fetches what it missed', async () => {
  const world = deskWith(snapshotOf(PATIENT));
  const { engine, desk, clock } = world;
  engine.queueFirst(1);
  const listen = engine.notices.bind(engine);
  engine.notices = () => {
    engine.notices = listen;
    throw new Error('the connection broke');
  };
  const admission = desk.admit(CALL, never);
  await settled();
  const id = engine.asked[0]!.id;
  engine.onBeat = () => engine.alive({ notices: [{ kind: 'granted', id, grant: engine.grant(id) }] });
  await clock.advance(1100);
  expect(await admission).toMatchObject({ kind: 'admitted' });
  expect(engine.listening).toBe(1);
});
