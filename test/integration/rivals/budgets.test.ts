/** Rivals' budgets that miss what was used, or see what was not. Numbers are those of `RIVALS.md`. */
import { expect, test } from 'vitest';
import { node } from '#test/support/engine.ts';
import { NOTHING, PATIENT, type World } from '#test/integration/sidecar/world.ts';
import {
  accepted,
  billed,
  call,
  daily,
  open,
  OUTPUT_TOKENS,
  QUOTA,
  statuses,
  type Told,
  together,
  withVendor,
} from './fixture.ts';

/** In billionths. */
const DOLLAR = 1e9;

/** All has ended, and nothing was let through that should not have been. */
async function idle(world: World): Promise<void> {
  expect(await world.remains()).toEqual(NOTHING);
}

test('rival 10: tokens of streams count against the limit as those of any call', async () => {
  await using world = await open({ quota: { limits: [daily('OutputTokens', 3 * OUTPUT_TOKENS)] } });
  for (let count = 0; count < 3; count += 1) expect((await call(world, { stream: true })).status).toBe(200);
  expect(await call(world, { stream: true })).toMatchObject({ status: 429, deniedBy: `${QUOTA}/daily` });
  await idle(world);
  expect(await world.used('OutputTokens')).toBe((await world.control.report()).tokens.output);
});

test('rival 11: what a stream used before its client left is charged', async () => {
  await using world = await open({});
  const gone = new AbortController();
  const cut = call(world, { sim: 'tokens=400 midhold=left', maxTokens: 400, stream: true, signal: gone.signal }).catch(
    (error: unknown) => error,
  );
  await withVendor(world, 1);
  gone.abort();
  expect(await cut).toBeInstanceOf(Error);
  await withVendor(world, 0);
  await idle(world);
  const { tokens } = await world.control.report();
  expect(tokens.output).toBeGreaterThan(0);
  expect(await world.used('OutputTokens')).toBeGreaterThanOrEqual(tokens.output);
  // Its input was used as well.
  expect(await world.used('Tokens')).toBeGreaterThan(await world.used('OutputTokens'));
});

test('rival 12: calls that may put out far more than they do neither block a budget nor stay reserved', async () => {
  // At its worst case of 131,072 tokens one call alone would cost 0.58 of the dollar.
  await using world = await open({ quota: { limits: [daily('Cost', DOLLAR)] } });
  const held = together(world, 20, { maxTokens: 131_072, sim: 'hold=all' });
  await withVendor(world, 20);
  await world.control.release('all');
  expect(statuses(await held)).toEqual({ 200: 20 });
  await idle(world);
  expect(await world.used('Cost')).toBeCloseTo((await billed(world)) * 1e9, 0);
});

test('rival 13: a budget is used up exactly when its calls have used it, also after sidecar and Redis restarted', async () => {
  await using world = await open({ sidecars: 2, quota: { limits: [daily('Requests', 6)] } });
  const [, second] = world.sidecars;
  expect(statuses(await together(world, 4))).toEqual({ 200: 4 });
  second?.child.kill('SIGKILL');
  await second?.ended();
  await world.sidecar();
  await world.redis.stop();
  await world.redis.restart();
  const answers: number[] = [];
  await world.until(async () => {
    const { status } = await call(world, { by: 2, headers: { 'x-glmquota-max-wait': '0' } });
    if (status !== 503) answers.push(status);
    return answers.length === 4;
  });
  expect(answers).toEqual([200, 200, 429, 429]);
  expect(await accepted(world)).toBe(6);
  expect(await world.drifts()).toEqual([]);
});

test('rival 14: a budget is whole again when its window ends, without anybody resetting it', async () => {
  const limits = [{ ...daily('Requests', 2), window: { type: 'Fixed', durationMs: 2000 } }] as const;
  await using world = await open({ quota: { limits }, binding: PATIENT });
  // Each pair has to wait for the next window; nobody calls anything else.
  expect(statuses(await together(world, 6))).toEqual({ 200: 6 });
});

test('rival 16: a rule that counts also enforces, and says so by name', async () => {
  const reviews = node('quota:team/reviews', 'account', {
    limits: [daily('Requests', 2)],
    scope: {
      models: [],
      tools: ['review'],
      capabilities: [],
      sources: [],
      users: [],
      pools: [],
      namespaces: [],
      unset: 'Skip',
    },
  });
  await using world = await open({ more: [reviews] });
  const review = { headers: { 'x-glmquota-tool': 'review' } };
  expect(statuses(await together(world, 5, review))).toEqual({ 200: 2, 429: 3 });
  expect((await call(world, review)).deniedBy).toBe('quota:team/reviews/daily');
  expect(statuses(await together(world, 5))).toEqual({ 200: 5 });
});

test('rival 21: money that calls in flight will cost is not spent a second time', async () => {
  const nanoUsd = 250_000;
  await using world = await open({ quota: { limits: [daily('Cost', nanoUsd)] } });
  const answered: Told[] = [];
  const asked = Array.from({ length: 10 }, async () => answered.push(await call(world, { sim: 'hold=all' })));
  // Those that fit by their reservations are with the vendor, and nothing is billed yet.
  await world.until(async () => answered.length + (await world.control.flights()).length === asked.length);
  expect(statuses(answered)).toEqual({ 429: answered.length });
  expect(new Set(answered.map(({ deniedBy }) => deniedBy))).toEqual(new Set([`${QUOTA}/daily`]));
  expect(await billed(world)).toBe(0);
  await world.control.release('all');
  await Promise.all(asked);
  expect(statuses(answered)[200]).toBeGreaterThan(0);
  await idle(world);
  expect((await billed(world)) * 1e9).toBeLessThanOrEqual(nanoUsd);
});
