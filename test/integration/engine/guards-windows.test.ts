/** Guards of windows, rates and guarantees (N1 to N6, M1), each found missing a test by `test/proof/mutation`. */
import { expect, test } from 'vitest';
import type { Verdict } from '#sidecar/engine/terms.ts';
import type { LimitConfig, NodeConfig } from '#sidecar/engine/tree-terms.ts';
import { HELD, limit, node, NOTHING, request, settlement, START_MS } from '#test/support/engine.ts';
import { useEngine } from './fixture.ts';
import { useOwners } from './waiting-fixture.ts';

const rules = useEngine();
const { pass } = useOwners(rules);
const MINUTE = 60_000;
const GUARD = 2000;
const HOUR = 3_600_000;

test('N1 a window whose start is unsure does not end while another call may have opened it', async () => {
  await rules.engine.configure([node('account', null, { limits: [limit('five-hour', 2)] })]);
  const cut = await rules.grant('1');
  await rules.grant('runs on');
  await rules.settle(cut, { outcome: 'brokeMidStream', sentAfterMs: 0, firstByteAfterMs: null });
  await rules.engine.advance(MINUTE + GUARD);
  expect(await rules.acquire('2')).toMatchObject({ limit: 'five-hour', used: 2 });
});

test('N1 no answer comes before its call', async () => {
  await rules.engine.configure([node('account', null, { limits: [limit('five-hour', 5)] })]);
  await rules.settle(await rules.grant('1'), { sentAfterMs: 900, firstByteAfterMs: 100 });
  expect(await rules.usage('account', 'five-hour')).toMatchObject({ resetsAtMs: START_MS + 900 + MINUTE + GUARD });
});

test('N1, T7 a call that was put back may have opened its window at any time until it ended', async () => {
  await rules.engine.configure([
    node('account', null, { limits: [limit('five-hour', 5)] }),
    node('model:other', 'account'),
  ]);
  const lease = { id: 'forgotten', fence: 7, epoch: 0 };
  const leases = [{ lease, request: request('forgotten'), sent: true }];
  await rules.engine.sidecar.register({ owner: 'pod-1', leases, disclaimed: [] });
  await rules.engine.advance(9000);
  await rules.engine.sidecar.settle([settlement('forgotten', 7, { sentAfterMs: 0, firstByteAfterMs: 500 })]);
  expect(await rules.usage('account', 'five-hour')).toMatchObject({
    used: 1,
    resetsAtMs: START_MS + 9000 + MINUTE + GUARD,
  });
});

const anchored = { type: 'Anchored', durationMs: MINUTE } as const;
const fixed = { type: 'Fixed', durationMs: MINUTE } as const;

/** Ten tokens for all, of which quota `a` is promised `promised`. */
async function promise(window: LimitConfig['window'], promised = 4, generation = 1): Promise<void> {
  const own = {
    window,
    resource: 'Tokens',
    ...(window.type === 'Anchored' ? { windowOwner: 'account' } : {}),
  } as const;
  const guaranteed = promised > 0 ? { guaranteed: promised } : {};
  await rules.engine.configure(
    [
      node('account', null, { limits: [limit('tokens', 10, { window, resource: 'Tokens' })] }),
      node('quota:a', 'account', { limits: [limit('tokens', 10, { ...own, ...guaranteed })] }),
      node('quota:b', 'account', { limits: [limit('tokens', 10, own)] }),
    ],
    { generation },
  );
}

const ask = async (leaf: 'a' | 'b', inputTokens: number, generation = 1): Promise<Verdict> =>
  rules.acquire(`${leaf}-${inputTokens}-${generation}-${rules.engine.nowMs}`, {
    leaf: `quota:${leaf}`,
    reserve: { ...NOTHING, inputTokens },
    generation,
  });
const granted = { kind: 'granted' };
const denied = { kind: 'denied', node: 'account' };

test.each([anchored, fixed])(
  'N3 what is promised stays free in a $type window that is not open yet',
  async (window) => {
    await promise(window);
    expect(await ask('b', 7)).toMatchObject(denied);
    expect(await ask('b', 6)).toMatchObject(granted);
  },
);

test.each([anchored, fixed])(
  'N3 what was promised and used in a $type window is not kept free again',
  async (window) => {
    await promise(window);
    expect(await ask('b', 3)).toMatchObject(granted);
    expect(await ask('a', 4)).toMatchObject(granted);
    expect(await ask('b', 2)).toMatchObject(granted);
    expect(await ask('b', 1)).toMatchObject(granted);
  },
);

test.each([anchored, fixed])('N3 a settlement in a $type window counts for what was promised', async (window) => {
  await promise(window);
  const small = await ask('a', 1);
  if (small.kind !== 'granted') throw new Error('a got nothing of what it was promised');
  await rules.settle(small, { actual: { ...NOTHING, inputTokens: 4 } });
  expect(await ask('b', 6)).toMatchObject(granted);
});

test('N3 what a dead call reserved counts for its own period only', async () => {
  await promise(fixed);
  await rules.engine.advance(30_000);
  expect(await ask('a', 4)).toMatchObject(granted);
  await pass(30_000);
  expect(await ask('b', 7)).toMatchObject(denied);
  expect(await ask('b', 6)).toMatchObject(granted);
});

test('N3 a promise made while its quota has used some counts that use', async () => {
  await promise(anchored, 0);
  expect(await ask('a', 4)).toMatchObject(granted);
  await promise(anchored, 4, 2);
  expect(await ask('b', 6, 2)).toMatchObject(granted);
});

test('N3 a quota whose window is reset has its whole promise again', async () => {
  await promise(anchored);
  const used = await ask('a', 4);
  if (used.kind !== 'granted') throw new Error('a got nothing of what it was promised');
  await rules.settle(used, { actual: { ...NOTHING, inputTokens: 4 } });
  await rules.engine.admin.resetWindow(rules.treeKey, 'quota:a', 'tokens');
  expect(await ask('b', 3)).toMatchObject(denied);
  expect(await ask('b', 2)).toMatchObject(granted);
});

const model = async (rest: Partial<NodeConfig>, account: Partial<NodeConfig> = {}): Promise<void> =>
  rules.engine.configure([
    node('account', null, account),
    node('model:glm-5.3', 'account', rest),
    node('model:glm-4', 'account', rest),
    node('model:other', 'account'),
  ]);
const limitOf = async (name: string) =>
  (await rules.engine.sidecar.snapshot())?.nodes.find((each) => each.name === name)?.concurrency;

test('N4 what an adaptive limit learnt keeps to the bounds of a new configuration', async () => {
  await model({ concurrency: 8, adaptive: { min: 1, start: 6 } });
  await rules.grant('1');
  await model({ concurrency: 3, adaptive: { min: 1, start: 1 } });
  expect(await limitOf('model:glm-5.3')).toBe(3);
});

const calibrated = async (used: number, resetAtMs: number, pollStartMs = rules.engine.nowMs) =>
  rules.engine.admin.calibrate(rules.treeKey, { limit: 'five-hour', used, resetAtMs, pollStartMs });
const fiveHour = async (): Promise<void> => {
  const window = { type: 'Anchored', durationMs: 5 * HOUR } as const;
  await rules.engine.configure([node('account', null, { limits: [limit('five-hour', 100, { window })] })]);
  await rules.settle(await rules.grant('1'));
  await rules.engine.advance(HOUR);
};

test('N5 the same poll told twice is one poll', async () => {
  await fiveHour();
  const poll = rules.engine.nowMs;
  for (const _twice of [1, 2]) {
    expect(await calibrated(0, START_MS + 10 * HOUR, poll)).toMatchObject({ kind: 'kept', after: 1 });
  }
});

test('N5 two polls that name different resets lower nothing', async () => {
  await fiveHour();
  expect(await calibrated(0, START_MS + 10 * HOUR)).toMatchObject({ kind: 'kept', after: 1 });
  await rules.engine.advance(1000);
  expect(await calibrated(0, START_MS + 12 * HOUR)).toMatchObject({ kind: 'kept', after: 1 });
});

test('N5 a freeze begun after the first of two polls stays', async () => {
  await fiveHour();
  await calibrated(0, START_MS + 10 * HOUR);
  await rules.engine.advance(1000);
  await rules.engine.admin.freeze(rules.treeKey, 'account', START_MS + 20 * HOUR);
  await rules.engine.advance(1000);
  expect(await calibrated(0, START_MS + 10 * HOUR)).toMatchObject({ kind: 'applied', after: 0 });
  expect(await rules.acquire('2')).toMatchObject({ reason: 'Frozen' });
});

test('N5 near a boundary, a reading of the window that may have begun says that it has', async () => {
  await fiveHour();
  await rules.engine.advance(4 * HOUR);
  await rules.grant('2');
  expect(await calibrated(7, START_MS + 10 * HOUR + 1000)).toMatchObject({ kind: 'applied' });
  expect(await rules.usage('account', 'five-hour')).toMatchObject({
    used: 7,
    reserved: 1,
    resetsAtMs: START_MS + 10 * HOUR + 1000 + GUARD,
  });
});

test('N5 a reading that names an earlier reset raises the use and moves no start', async () => {
  await fiveHour();
  expect(await calibrated(5, START_MS + 3 * HOUR)).toMatchObject({ kind: 'applied', after: 5 });
  expect(await rules.usage('account', 'five-hour')).toMatchObject({ resetsAtMs: START_MS + 5 * HOUR + GUARD });
});

test('N6 a stop holds on an observed node', async () => {
  await rules.engine.configure([node('account', null), node('quota:a', 'account', { observe: true, stops: HELD })]);
  expect(await rules.acquire('1', { leaf: 'quota:a' })).toMatchObject({ reason: 'Stopped' });
});

test('N6 what an observed rate let pass is not owed when it is enforced', async () => {
  const rate = { intervalUs: 10_000_000, burst: 1 };
  await rules.engine.configure([node('account', null, { rate, observe: true })]);
  for (const id of ['1', '2', '3', '4', '5']) await rules.grant(id);
  await rules.engine.configure([node('account', null, { rate })]);
  expect(await rules.acquire('6', { generation: 2 })).toMatchObject({
    reason: 'Rate',
    retryAtMs: START_MS + 10_000,
  });
});

test.each([
  ['of one model', 0, 'glm-5.3'],
  ['more than two seconds apart', 2001, 'glm-4'],
])('M1 refusals %s do not shrink the account', async (_which, apartMs, second) => {
  await model({ concurrency: 6, adaptive: { min: 1, start: 4 } }, { concurrency: 8, adaptive: { min: 1, start: 6 } });
  const grants = [await rules.grant('1'), await rules.grant('2', { model: second })];
  for (const grant of grants) {
    await rules.settle(grant, { outcome: 'refusedConcurrency', sentAfterMs: 0, firstByteAfterMs: null });
    await rules.engine.advance(apartMs);
  }
  expect(await limitOf('account')).toBe(6);
});

test('inv-I4 a rate lets its burst through at once, and not one more', async () => {
  await rules.engine.configure([node('account', null, { rate: { intervalUs: 10_000_000, burst: 2 } })]);
  for (const id of ['1', '2']) await rules.grant(id);
  expect(await rules.acquire('3')).toMatchObject({ reason: 'Rate', retryAtMs: START_MS + 10_000 });
});

test('N2 what a call of an earlier period gives back lowers no later one', async () => {
  await rules.engine.configure([node('account', null, { limits: [limit('daily', 5, { window: fixed })] })]);
  await rules.grant('1');
  await rules.engine.advance(MINUTE);
  await rules.grant('2');
  await rules.engine.sidecar.cancel('1');
  expect(await rules.usage('account', 'daily')).toMatchObject({ used: 1 });
});
