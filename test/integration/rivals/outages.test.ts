/** Rivals without their Redis, and vendors that say no. Numbers are those of `RIVALS.md`. */
import { expect, test } from 'vitest';
import { NOTHING, PATIENT } from '#test/integration/sidecar/world.ts';
import { accepted, call, open, statuses, together } from './fixture.ts';

const FIVE_HOURS_MS = 5 * 3_600_000;
const NO_WAIT = { 'x-glmquota-max-wait': '0' };

test('rival 8: without Redis there is no silent limit per pod: nothing starts, and the answer says why', async () => {
  await using world = await open({ slots: 2, sidecars: 3 });
  expect((await call(world)).status).toBe(200);
  await world.redis.stop();
  const told = await together(world, 12, { headers: NO_WAIT });
  expect(statuses(told)).toEqual({ 503: 12 });
  expect(told.every(({ text }) => text.includes('glmquota_unavailable'))).toBe(true);
  expect(await accepted(world)).toBe(1);
  await world.redis.restart();
  await world.until(async () => (await call(world)).status === 200);
  expect(await world.remains()).toEqual(NOTHING);
});

test('rival 9: a Redis that swallows every packet makes no request hang', async () => {
  await using world = await open({ binding: { waiting: { mode: 'UntilSlot', maxWaitMs: 2000 } } });
  world.redis.pause();
  const patience = AbortSignal.timeout(30_000);
  const impatient = await together(world, 5, { headers: NO_WAIT, signal: patience });
  const patient = await together(world, 5, { signal: patience });
  expect(statuses([...impatient, ...patient])).toEqual({ 503: 10 });
  world.redis.resume();
  await world.until(async () => (await call(world)).status === 200);
  expect(await world.remains()).toEqual(NOTHING);
});

test('rival 22: a used-up 5-hour window is asked once, and nobody tries again before the stated reset', async () => {
  const binding = { ...PATIENT, retry: { maxAttempts: 5, baseDelayMs: 10, factorPermille: 1000, maxDelayMs: 10 } };
  await using world = await open({ sidecars: 2, binding });
  const window = {
    name: 'five-hour',
    resource: 'Prompts',
    amount: 3,
    durationMs: FIVE_HOURS_MS,
    code: '1308',
  } as const;
  await world.control.patchAccount('max', { windows: [window] });
  for (let prompt = 0; prompt < 3; prompt += 1) expect((await call(world)).status).toBe(200);
  const resetsMs = Date.now() + FIVE_HOURS_MS;
  expect((await call(world)).status).toBe(429);
  const told = await together(world, 20);
  expect(statuses(told)).toEqual({ 429: 20 });
  expect(new Set(told.map(({ deniedBy }) => deniedBy))).toEqual(new Set(['account/vendor']));
  for (const { retryAt } of told) expect(Math.abs(Date.parse(retryAt ?? '') - resetsMs)).toBeLessThan(120_000);
  expect((await world.control.report()).refused).toEqual({ 1308: 1 });
});
