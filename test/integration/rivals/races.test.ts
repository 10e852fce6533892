/** Rivals' races: many callers ask at the same moment. Numbers are those of `RIVALS.md`. */
import { expect, test } from 'vitest';
import { NOTHING } from '#test/integration/sidecar/world.ts';
import {
  accepted,
  billed,
  call,
  daily,
  mostAtOnce,
  open,
  QUOTA,
  statuses,
  type Told,
  together,
  withVendor,
} from './fixture.ts';

test('rival 1: calls that start together do not all pass before the first has settled', async () => {
  await using world = await open({ quota: { limits: [daily('OutputTokens', 20)] } });
  const first = together(world, 2, { sim: 'hold=all' });
  await withVendor(world, 2);
  // Nothing is used so far: it is the two reservations that keep the others out.
  expect(statuses(await together(world, 18))).toEqual({ 429: 18 });
  await world.control.release('all');
  expect(statuses(await first)).toEqual({ 200: 2 });
  expect((await world.control.report()).tokens.output).toBe(20);
});

test('rival 2: of 100 parallel calls as many are admitted as the limit says', async () => {
  await using world = await open({ quota: { limits: [daily('Requests', 10)] } });
  expect(statuses(await together(world, 100))).toEqual({ 200: 10, 429: 90 });
  expect(await accepted(world)).toBe(10);
  expect(await world.remains()).toEqual(NOTHING);
});

test('rival 3: two gateways that race for the last unit of a limit do not both have it', async () => {
  await using world = await open({ sidecars: 2, quota: { limits: [daily('Requests', 5)] } });
  for (let left = 5; left > 1; left -= 1) expect((await call(world, { by: left % 2 })).status).toBe(200);
  expect(statuses(await together(world, 20))).toEqual({ 200: 1, 429: 19 });
  expect(await accepted(world)).toBe(5);
});

test('rival 4: max_parallel is never overshot, however many callers there are', async () => {
  await using world = await open({ slots: 3 });
  const answered: Told[] = [];
  const asked = Array.from({ length: 60 }, async () => answered.push(await call(world, { sim: 'hold=all' })));
  await world.until(async () => answered.length + (await world.control.flights()).length === asked.length);
  expect(statuses(answered)).toEqual({ 429: 57 });
  await world.control.release('all');
  await Promise.all(asked);
  // And when calls come and go.
  await together(world, 60, { sim: 'ms=20', stream: true });
  expect(await mostAtOnce(world)).toBe(3);
  expect(await world.remains()).toEqual(NOTHING);
});

test('rival 5: a limit on calls in flight holds for all processes together', async () => {
  await using world = await open({ slots: 3, sidecars: 3 });
  const held = together(world, 3, { sim: 'hold=all' });
  await withVendor(world, 3);
  const others = await together(world, 30);
  expect(statuses(others)).toEqual({ 429: 30 });
  await world.control.release('all');
  expect(statuses(await held)).toEqual({ 200: 3 });
  expect(await mostAtOnce(world)).toBe(3);
});

test('rival 17: a budget does not grow with the number of replicas', async () => {
  await using world = await open({ sidecars: 3, quota: { limits: [daily('Requests', 6)] } });
  expect(statuses(await together(world, 30))).toEqual({ 200: 6, 429: 24 });
  // Each replica says so by itself, not only the one that spent most.
  const told = await Promise.all([0, 1, 2].map((by) => call(world, { by })));
  expect(told.map(({ deniedBy }) => deniedBy)).toEqual(Array.from({ length: 3 }, () => `${QUOTA}/daily`));
  expect(await accepted(world)).toBe(6);
});

test('rival 18: money is checked and taken in one step: parallel calls do not overdraw the balance', async () => {
  const nanoUsd = 300_000;
  await using world = await open({ sidecars: 2, quota: { limits: [daily('Cost', nanoUsd)] } });
  const all = await together(world, 40);
  expect(statuses(all)[200]).toBeGreaterThan(0);
  expect(statuses(all)[429]).toBeGreaterThan(0);
  await world.quiet();
  expect((await billed(world)) * 1e9).toBeLessThanOrEqual(nanoUsd);
  expect(await world.used('Cost')).toBeCloseTo((await billed(world)) * 1e9, 0);
});

test('rival 19: tokens are charged as the vendor counts them, and not one call too many is admitted', async () => {
  await using world = await open({ sidecars: 2, quota: { limits: [daily('OutputTokens', 200)] } });
  expect(statuses(await together(world, 60, { sim: 'ms=5' }))).toEqual({ 200: 20, 429: 40 });
  await world.quiet();
  const { tokens } = await world.control.report();
  expect(tokens.output).toBe(200);
  expect(await world.used('OutputTokens')).toBe(tokens.output);
  expect(await world.used('Tokens')).toBe(tokens.input + tokens.output);
});
