/** Rivals' slots that leak, or are forgotten too early. Numbers are those of `RIVALS.md`. */
import { expect, test } from 'vitest';
import { useEngine } from '#test/integration/engine/fixture.ts';
import { useOwners } from '#test/integration/engine/waiting-fixture.ts';
import { NOTHING, PATIENT } from '#test/integration/sidecar/world.ts';
import { node } from '#test/support/engine.ts';
import { accepted, call, mostAtOnce, open, statuses, together, withVendor } from './fixture.ts';

const SLOTS = 3;
/** A failed call makes its model pause; a call waits that out. What fails is not repeated. */
const ONCE = {
  ...PATIENT,
  retry: { maxAttempts: 1, baseDelayMs: 1, factorPermille: 1000, maxDelayMs: 1 },
} as const;

test('rival 6: slots do not leak, however calls end, and nobody has to empty Redis', async () => {
  await using world = await open({ slots: SLOTS, sidecars: 2, binding: ONCE });
  const ends = ['ms=5', 'fault=reset', 'fault=http:503', 'fault=code:1214', 'fault=midreset:2', 'fault=truncated:2'];
  for (const sim of ends) {
    // A stream that breaks is an error at the client.
    await Promise.allSettled([0, 1].map((by) => call(world, { by, sim, stream: true })));
  }
  const killed = call(world, { by: 1, sim: 'midhold=killed', stream: true }).catch((error: unknown) => error);
  await withVendor(world, 1);
  world.sidecars[1]?.child.kill('SIGKILL');
  expect(await killed).toBeInstanceOf(Error);
  // All slots are there again: so many calls are with the vendor at once.
  const all = Array.from({ length: SLOTS }, () => call(world, { sim: 'hold=again' }));
  await withVendor(world, SLOTS);
  await world.control.release('again');
  expect(statuses(await Promise.all(all))).toEqual({ 200: SLOTS });
  expect(await world.remains()).toEqual(NOTHING);
});

test('rival 7: a client that cancels does not keep its slot from being given back', async () => {
  await using world = await open({ slots: 1, binding: ONCE });
  const stages = [
    { sim: 'hold=unanswered', stream: false },
    { sim: 'midhold=streaming', stream: true },
  ];
  for (const stage of stages) {
    const gone = new AbortController();
    const cut = call(world, { ...stage, signal: gone.signal }).catch((error: unknown) => error);
    await withVendor(world, 1);
    const waiting = new AbortController();
    const queued = call(world, { signal: waiting.signal }).catch((error: unknown) => error);
    await world.until(async () => (await world.tree()).nodes.some(({ queued: count }) => count === 1));
    waiting.abort();
    gone.abort();
    expect(await cut).toBeInstanceOf(Error);
    expect(await queued).toBeInstanceOf(Error);
    expect((await call(world)).status).toBe(200);
  }
  expect(await world.remains()).toEqual(NOTHING);
});

test('rival 15: a call that meets a full limit waits for its turn instead of getting a 429', async () => {
  await using world = await open({ slots: 2, sidecars: 2, binding: PATIENT });
  expect(statuses(await together(world, 40, { sim: 'ms=10' }))).toEqual({ 200: 40 });
  expect(await mostAtOnce(world)).toBe(2);
  expect(await accepted(world)).toBe(40);
});

const rules = useEngine();
const { pass } = useOwners(rules);

test('rival 20: the count of a call that runs for hours under load neither expires nor falls to 0', async () => {
  await rules.engine.configure([node('account', null, { concurrency: 1 })]);
  const long = await rules.grant('long', { maxRuntimeMs: 3 * 3_600_000 });
  for (let minute = 0; minute < 120; minute += 1) {
    await pass(60_000, { 'pod-1': { leases: [long] } });
    expect(await rules.acquire(`other-${minute}`, { owner: 'pod-2' })).toMatchObject({ kind: 'denied' });
    expect(await rules.inFlight('account')).toBe(1);
  }
  await rules.settle(long);
  expect(await rules.acquire('next', { owner: 'pod-2' })).toMatchObject({ kind: 'granted' });
});
