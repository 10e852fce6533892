import { expect, test } from 'vitest';
import { type Outcome } from '#sidecar/engine/terms.ts';
import { MAX_AMOUNT, type LimitConfig } from '#sidecar/engine/tree-terms.ts';
import { limit, node, ONE, START_MS } from '#test/support/engine.ts';
import { useEngine } from './fixture.ts';

const rules = useEngine();
const MINUTE = 60_000;
const GUARD = 2000;

const account = (...limits: LimitConfig[]) => [node('account', null, { limits })];
const settledAfter = { sentAfterMs: 100, firstByteAfterMs: 900 };

test('N1 an anchored window opens with the first accepted call and ends a guard after its latest possible end', async () => {
  await rules.engine.configure(account(limit('five-hour', 1)));
  const grant = await rules.grant('1');
  await rules.engine.advance(5000);
  await rules.settle(grant, settledAfter);
  const end = START_MS + 900 + MINUTE + GUARD;
  expect(await rules.usage('account', 'five-hour')).toMatchObject({ used: 1, reserved: 0, resetsAtMs: end });
  await rules.engine.setUs((end - 1) * 1000);
  expect(await rules.acquire('2')).toMatchObject({ retryAtMs: end });
  await rules.engine.setUs(end * 1000);
  expect(await rules.acquire('2')).toMatchObject({ kind: 'granted' });
});

test('N1 near the boundary a call is charged to the window that ends and to the next one', async () => {
  await rules.engine.configure(account(limit('five-hour', 3)));
  await rules.settle(await rules.grant('1'), settledAfter);
  // The vendor's window ends between 100 ms and 900 ms past the minute: nobody knows in which one this call counts.
  await rules.engine.setUs((START_MS + 100 + MINUTE) * 1000);
  const near = await rules.grant('2');
  expect(await rules.usage('account', 'five-hour')).toMatchObject({ used: 1, reserved: 1 });
  await rules.engine.advance(1000);
  await rules.settle(near, settledAfter);
  expect(await rules.usage('account', 'five-hour')).toMatchObject({ used: 2 });
  await rules.engine.setUs((START_MS + 900 + MINUTE + GUARD) * 1000);
  expect(await rules.usage('account', 'five-hour')).toMatchObject({ used: 1, reserved: 0 });
});

test('N1 a call cut before any response is charged but fixes no start: a later opener may be the first', async () => {
  await rules.engine.configure(account(limit('five-hour', 10)));
  const cut = await rules.grant('cut');
  await rules.engine.advance(1000);
  await rules.settle(cut, { outcome: 'brokeMidStream', sentAfterMs: 0, firstByteAfterMs: null });
  expect(await rules.usage('account', 'five-hour')).toMatchObject({
    used: 1,
    resetsAtMs: START_MS + 1000 + MINUTE + GUARD,
  });
  // The vendor never took it: its window opens half a minute later and runs until a minute and a half.
  await rules.engine.advance(29_000);
  for (let id = 2; id <= 10; id++)
    await rules.settle(await rules.grant(`${id}`), { sentAfterMs: 0, firstByteAfterMs: 0 });
  const end = START_MS + 30_000 + MINUTE + GUARD;
  await rules.engine.advance(33_500);
  expect(await rules.acquire('11')).toMatchObject({ limit: 'five-hour', retryAtMs: end });
  await rules.engine.setUs(end * 1000);
  expect(await rules.acquire('12')).toMatchObject({ kind: 'granted' });
});

test('N1 a call that runs across the boundary stays charged in the next window', async () => {
  await rules.engine.configure(account(limit('tokens', 100, { resource: 'Tokens' })));
  const reserve = { ...ONE, inputTokens: 40 };
  await rules.settle(await rules.grant('1', { reserve }), { ...settledAfter, actual: reserve });
  await rules.engine.advance(MINUTE - 5000);
  const long = await rules.grant('2', { reserve });
  await rules.engine.setUs((START_MS + 900 + MINUTE + GUARD) * 1000);
  expect(await rules.usage('account', 'tokens')).toMatchObject({ used: 0, reserved: 40 });
  expect(await rules.settle(long, { actual: { ...ONE, inputTokens: 70 } })).toMatchObject({ kind: 'settled' });
  expect(await rules.usage('account', 'tokens')).toMatchObject({ used: 70, reserved: 0 });
});

test('N1 a window all of whose calls were refunded is not open', async () => {
  await rules.engine.configure(account(limit('five-hour', 1)));
  const refused = await rules.grant('1');
  await rules.engine.advance(30_000);
  await rules.settle(refused, { outcome: 'refusedRate', ...settledAfter });
  expect(await rules.usage('account', 'five-hour')).toMatchObject({ used: 0, resetsAtMs: null });
  await rules.settle(await rules.grant('2'), { sentAfterMs: 0, firstByteAfterMs: 0 });
  const end = START_MS + 30_000 + MINUTE + GUARD;
  expect(await rules.usage('account', 'five-hour')).toMatchObject({ used: 1, resetsAtMs: end });
});

test.each([
  ['the one that runs', true],
  ['a new one', false],
])('N1 a settlement whose window has ended since its lease expired is charged to %s', async (_which, open) => {
  const tokens = limit('tokens', 1000, { resource: 'Tokens' });
  await rules.engine.configure(account(tokens));
  const cutOff = await rules.grant('1', { reserve: { ...ONE, inputTokens: 10 } });
  for (let ms = 0; ms < 3 * MINUTE; ms += 5000) {
    await rules.engine.advance(5000);
    await rules.engine.sidecar.cancel('time passes');
  }
  expect(await rules.usage('account', 'tokens')).toMatchObject({ used: 0, reserved: 0 });
  if (open) await rules.settle(await rules.grant('2'), { actual: { ...ONE, inputTokens: 1 } });
  await rules.settle(cutOff, { actual: { ...ONE, inputTokens: 500 } });
  expect(await rules.usage('account', 'tokens')).toMatchObject({ used: open ? 501 : 500 });
});

test('N2 a calendar window changes at the boundaries that configure brought, and not back with a clock set back', async () => {
  const boundariesMs = [START_MS - 1000, START_MS + 10_000, START_MS + 20_000];
  const window = { type: 'Calendar', period: 'Day', timeZone: 'Asia/Shanghai', boundariesMs } as const;
  await rules.engine.configure(account(limit('daily', 1, { window })));
  await rules.settle(await rules.grant('1'));
  expect(await rules.acquire('2')).toMatchObject({ limit: 'daily', retryAtMs: START_MS + 10_000 });
  await rules.engine.advance(10_000);
  await rules.settle(await rules.grant('3'));
  await rules.engine.advance(-5000);
  expect(await rules.acquire('4')).toMatchObject({ limit: 'daily', retryAtMs: START_MS + 20_000 });
  await rules.engine.advance(1_000_000);
  await rules.settle(await rules.grant('5'));
  expect(await rules.acquire('6')).toMatchObject({ limit: 'daily', retryAtMs: null });
});

const dayFrom = (...boundariesMs: number[]) =>
  account(limit('daily', 1, { window: { type: 'Calendar', period: 'Day', timeZone: 'UTC', boundariesMs } }));

test('N2 a calendar window that ran past its last boundary ends at the next one that configure brings', async () => {
  await rules.engine.configure(dayFrom(START_MS - 2000, START_MS - 1000));
  await rules.settle(await rules.grant('1'));
  expect(await rules.acquire('2')).toMatchObject({ limit: 'daily', retryAtMs: null });
  await rules.engine.advance(30_000);
  await rules.engine.configure(dayFrom(START_MS + 40_000, START_MS + 50_000));
  expect(await rules.acquire('3')).toMatchObject({ limit: 'daily', retryAtMs: START_MS + 40_000 });
  await rules.engine.advance(30_000);
  await rules.settle(await rules.grant('4'));
  expect(await rules.acquire('5')).toMatchObject({ limit: 'daily', retryAtMs: null });
  // Brought when it has passed already.
  await rules.engine.configure(dayFrom(START_MS + 55_000, START_MS + 70_000));
  await rules.settle(await rules.grant('6', { generation: 3 }));
  expect(await rules.acquire('7', { generation: 3 })).toMatchObject({ limit: 'daily', retryAtMs: START_MS + 70_000 });
});

test('N2 past its last boundary a calendar window keeps its use, whether its limit goes or the clock is set back', async () => {
  await rules.engine.configure(dayFrom(START_MS - 2000, START_MS - 1000));
  await rules.settle(await rules.grant('1'));
  await rules.engine.configure(account());
  await rules.engine.advance(30_000);
  await rules.engine.configure(dayFrom(START_MS - 2000, START_MS - 1000));
  expect(await rules.usage('account', 'daily')).toMatchObject({ used: 1, resetsAtMs: null });
  await rules.engine.advance(-31_500);
  expect(await rules.usage('account', 'daily')).toMatchObject({ used: 1, resetsAtMs: null });
  await rules.engine.advance(31_500);
  await rules.engine.configure(dayFrom(START_MS - 2000, START_MS - 1000, START_MS + 20_000));
  expect(await rules.usage('account', 'daily')).toMatchObject({ used: 0, resetsAtMs: null });
});

test('N3 a child limit of the same name shares anchor and reset of its owner and counts its own share', async () => {
  const own = [limit('five-hour', 2, { windowOwner: 'account' })];
  await rules.engine.configure([
    node('account', null, { limits: [limit('five-hour', 5)] }),
    node('quota:a/one', 'account', { limits: own }),
    node('quota:a/two', 'account', { limits: own }),
  ]);
  await rules.settle(await rules.grant('1', { leaf: 'quota:a/one' }));
  await rules.engine.advance(30_000);
  await rules.settle(await rules.grant('2', { leaf: 'quota:a/two' }));
  const resetsAtMs = START_MS + MINUTE + GUARD;
  expect(await rules.usage('account', 'five-hour')).toMatchObject({ used: 2, resetsAtMs });
  expect(await rules.usage('quota:a/two', 'five-hour')).toMatchObject({ used: 1, resetsAtMs });
  await rules.engine.setUs(resetsAtMs * 1000);
  expect(await rules.usage('quota:a/two', 'five-hour')).toMatchObject({ used: 0, resetsAtMs: null });
});

test('a sliding window never frees room early, and at most one bucket late', async () => {
  const window = { type: 'Sliding', durationMs: MINUTE } as const;
  await rules.engine.configure(account(limit('minute', 2, { window })));
  await rules.grant('1');
  await rules.engine.advance(20_500);
  await rules.grant('2');
  expect(await rules.acquire('3')).toMatchObject({ limit: 'minute', retryAtMs: START_MS + MINUTE + 1000 });
  await rules.engine.setUs((START_MS + MINUTE) * 1000);
  expect(await rules.acquire('3')).toMatchObject({ kind: 'denied' });
  await rules.engine.setUs((START_MS + MINUTE + 1000) * 1000);
  expect(await rules.acquire('3')).toMatchObject({ kind: 'granted' });
});

const refundsWindow: Record<Outcome, boolean> = {
  completed: false,
  brokeMidStream: false,
  neverSent: true,
  refusedConcurrency: true,
  refusedRate: true,
  refusedOverload: true,
  refusedQuota: true,
  failedBeforeFirstByte: true,
  rejected: true,
};
test.each(Object.entries(refundsWindow))(
  'rollback matrix: %s frees the slot, refunds the window: %s',
  async (outcome, refunds) => {
    const windows: LimitConfig['window'][] = [
      { type: 'Anchored', durationMs: MINUTE },
      { type: 'Sliding', durationMs: MINUTE },
      { type: 'Calendar', period: 'Day', timeZone: 'UTC', boundariesMs: [START_MS - 1] },
    ];
    const limits = windows.flatMap((window) => [
      limit(`requests-${window.type}`, 9, { window }),
      limit(`tokens-${window.type}`, 900, { window, resource: 'Tokens' }),
    ]);
    const rate = { intervalUs: 10_000_000, burst: 1 };
    await rules.engine.configure([node('account', null, { concurrency: 1, rate, limits })]);
    const grant = await rules.grant('1', { reserve: { ...ONE, inputTokens: 300 } });
    await rules.settle(grant, { outcome: outcome as Outcome, actual: { ...ONE, inputTokens: 200 } });
    expect(await rules.inFlight('account')).toBe(0);
    for (const { type } of windows) {
      expect(await rules.usage('account', `requests-${type}`)).toMatchObject({ used: refunds ? 0 : 1, reserved: 0 });
      expect(await rules.usage('account', `tokens-${type}`)).toMatchObject({ used: refunds ? 0 : 200, reserved: 0 });
    }
    // The vendor counted every call that was sent: only one that was not gives its rate token back.
    const again = await rules.acquire('2');
    const kept = { reason: 'Rate', retryAtMs: START_MS + 10_000 };
    expect(again).toMatchObject(outcome === 'neverSent' ? { kind: 'granted' } : kept);
    expect(await rules.drifts()).toEqual([]);
  },
);

test('a refunded rate token does not bring back one that time had returned already', async () => {
  await rules.engine.configure([node('account', null, { rate: { intervalUs: 1_000_000, burst: 1 } })]);
  await rules.grant('1');
  await rules.engine.advance(5000);
  await rules.grant('2');
  await rules.engine.sidecar.cancel('1');
  expect(await rules.acquire('3')).toMatchObject({ reason: 'Rate', retryAtMs: START_MS + 6000 });
});

test('more used than reserved is charged all the same and said to be an overdraft', async () => {
  await rules.engine.configure(account(limit('tokens', 100, { resource: 'Tokens' })));
  const grant = await rules.grant('1', { reserve: { ...ONE, inputTokens: 60 } });
  const actual = { ...ONE, inputTokens: 150 };
  expect(await rules.settle(grant, { actual })).toEqual({ kind: 'settled', late: false, overdraft: true });
  expect(await rules.acquire('2', { reserve: { ...ONE, inputTokens: 1 } })).toMatchObject({ used: 150, amount: 100 });
});

test.each([10 ** 14 - 1, 10 ** 14, 10 ** 14 + 1, 2 ** 52 + 1, MAX_AMOUNT - 2])(
  'L2 a counter at %d is exact, grants the last unit and not one more',
  async (nanoCost) => {
    for (const type of ['Anchored', 'Sliding'] as const) {
      await rules.engine.wipe();
      const rule = limit('cost', nanoCost + 1, { resource: 'Cost', window: { type, durationMs: MINUTE } });
      await rules.engine.configure(account(rule), { leaseCreatedMs: START_MS + 1, generation: 1 });
      const much = { ...ONE, nanoCost };
      await rules.settle(await rules.grant(`much-${type}`, { reserve: much }), { actual: much });
      expect(await rules.usage('account', 'cost')).toMatchObject({ used: nanoCost, amount: nanoCost + 1 });
      expect(await rules.acquire(`two-${type}`, { reserve: { ...ONE, nanoCost: 2 } })).toMatchObject({
        used: nanoCost,
      });
      await rules.grant(`one-${type}`, { reserve: { ...ONE, nanoCost: 1 } });
      expect(await rules.acquire(`more-${type}`, { reserve: { ...ONE, nanoCost: 1 } })).toMatchObject({
        kind: 'denied',
      });
    }
  },
);
