/** N5: our windows against the vendor's own counter, which lags and knows of calls that we do not. */
import { expect, test } from 'vitest';
import { limit, node, START_MS } from '#test/support/engine.ts';
import { useEngine } from './fixture.ts';

const rules = useEngine();
const HOUR = 3_600_000;
const W = 5 * HOUR;
const configure = async (amount = 100): Promise<void> =>
  rules.engine.configure([
    node('account', null, { limits: [limit('five-hour', amount, { window: { type: 'Anchored', durationMs: W } })] }),
    node('model:other', 'account'),
  ]);
const read = async (used: number, resetAtMs: number | null, pollStartMs = rules.engine.nowMs) =>
  rules.engine.admin.calibrate(rules.treeKey, { limit: 'five-hour', used, resetAtMs, pollStartMs });
const usage = async () => rules.usage('account', 'five-hour');

test('N5 use we know nothing of is taken over at once, and the window is anchored where the vendor says', async () => {
  await configure();
  await rules.settle(await rules.grant('1'));
  await rules.engine.advance(60_000);
  expect(await read(40, START_MS + W - 5000)).toEqual({ kind: 'applied', before: 1, after: 40 });
  expect(await usage()).toMatchObject({ used: 40, resetsAtMs: START_MS + W - 5000 + 2000 });
});

test('N5 a lagging display lowers nothing while the reset stays the same', async () => {
  await configure();
  for (let call = 0; call < 9; call++) await rules.settle(await rules.grant(`c${call}`));
  expect(await read(3, START_MS + W)).toMatchObject({ before: 9, after: 9 });
  expect(await read(3, START_MS + W)).toMatchObject({ before: 9, after: 9 });
});

test('N5 a window that is not open here is opened by the reading', async () => {
  await configure(50);
  expect(await read(50, START_MS + HOUR)).toMatchObject({ kind: 'applied', after: 50 });
  expect(await rules.acquire('1')).toMatchObject({ reason: 'Window', retryAtMs: START_MS + HOUR + 2000 });
});

test('N5 a later reset is believed when two polls agree, and ends a freeze that began before them', async () => {
  await configure();
  const until = START_MS + W;
  for (let call = 0; call < 5; call++) await rules.settle(await rules.grant(`c${call}`));
  await rules.engine.admin.freeze(rules.treeKey, 'account', until);
  await rules.engine.advance(HOUR);
  expect(await read(2, START_MS + 2 * W)).toMatchObject({ kind: 'kept', after: 5 });
  expect(await rules.acquire('still')).toMatchObject({ reason: 'Frozen' });
  await rules.engine.advance(60_000);
  expect(await read(2, START_MS + 2 * W)).toMatchObject({ kind: 'applied', before: 5, after: 2 });
  expect(await rules.acquire('thawed')).toMatchObject({ kind: 'granted' });
  expect(await rules.drifts()).toEqual([]);
});

test('N5 a reset in the past, or none, changes nothing: the vendor will count from its next call on', async () => {
  await configure();
  await rules.settle(await rules.grant('1'));
  await rules.engine.advance(HOUR);
  expect(await read(0, START_MS + HOUR - 60_000)).toMatchObject({ kind: 'kept', after: 1 });
  expect(await read(0, null)).toMatchObject({ kind: 'kept', after: 1 });
});

test('N5 a limit that is no anchored window of the account is unknown', async () => {
  await configure();
  const reading = { limit: 'weekly', used: 1, resetAtMs: null, pollStartMs: START_MS };
  expect(await rules.engine.admin.calibrate(rules.treeKey, reading)).toEqual({ kind: 'unknown', before: 0, after: 0 });
});

test('N5 calls in flight stay reserved through a reading that begins a new window', async () => {
  await configure();
  const grant = await rules.grant('1');
  await rules.engine.advance(1000);
  await read(0, START_MS + 2 * W);
  await rules.engine.advance(1000);
  await read(0, START_MS + 2 * W);
  expect(await usage()).toMatchObject({ used: 0, reserved: 1 });
  await rules.settle(grant);
  expect(await usage()).toMatchObject({ used: 1, reserved: 0 });
  expect(await rules.drifts()).toEqual([]);
});
