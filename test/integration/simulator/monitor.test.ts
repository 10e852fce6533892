import { expect, test } from 'vitest';
import { Fixture, KEY, OFF_PEAK_MS } from './fixture.ts';

const QUOTA = '/api/monitor/usage/quota/limit';
const HOUR_MS = 3_600_000;

/** Status and body of one GET with the raw key, as the vendor's plugin sends it. */
async function get(
  fixture: Fixture,
  path: string,
  key = KEY,
): Promise<{ status: number; body: Record<string, unknown> }> {
  const response = await fetch(fixture.simulator.url + path, { headers: { authorization: key } });
  return { status: response.status, body: (await response.json()) as Record<string, unknown> };
}

interface Row {
  type: string;
  unit: number;
  number: number;
  nextResetTime?: number;
}

async function rows(fixture: Fixture): Promise<Row[]> {
  const { body } = await get(fixture, QUOTA);
  return (body['data'] as { limits: Row[] }).limits;
}

test('idle windows have no reset time; used ones have one in milliseconds', async () => {
  await using fixture = await Fixture.start({ plan: 'max-v3' });
  expect(await get(fixture, QUOTA)).toEqual({
    status: 200,
    body: {
      code: 200,
      msg: 'Operation successful',
      success: true,
      data: {
        level: 'max',
        limits: [
          { type: 'CREDIT_LIMIT', unit: 3, number: 5, usage: 28000, currentValue: 0, remaining: 28000, percentage: 0 },
          {
            type: 'CREDIT_LIMIT',
            unit: 6,
            number: 1,
            usage: 140000,
            currentValue: 0,
            remaining: 140000,
            percentage: 0,
          },
        ],
      },
    },
  });
  await fixture.chat('[[sim prompt=1000000 tokens=100]]');
  expect(await rows(fixture)).toMatchObject([
    // 345.12 credits: both values are floored on their own.
    { currentValue: 345, remaining: 27654, percentage: 1, nextResetTime: OFF_PEAK_MS + 5 * HOUR_MS },
    { currentValue: 345, remaining: 139654, percentage: 0, nextResetTime: OFF_PEAK_MS + 168 * HOUR_MS },
  ]);
});

test('older plans show TOKENS_LIMIT and the monthly row of tool calls', async () => {
  await using fixture = await Fixture.start({ plan: 'pro-v1', mcpUsed: 12 });
  expect(await rows(fixture)).toMatchObject([
    { type: 'TOKENS_LIMIT', unit: 3, number: 5, usage: 600 },
    { type: 'TIME_LIMIT', unit: 5, number: 1, usage: 1000, currentValue: 12, remaining: 988 },
  ]);
});

test('a bad key and a missing plan are HTTP 200 with a code inside', async () => {
  await using fixture = await Fixture.start({ plan: 'max-v3' });
  const badKey = { code: 401, msg: 'token expired or incorrect', success: false };
  expect(await get(fixture, QUOTA, 'wrong')).toEqual({ status: 200, body: badKey });
  await fixture.control.patchAccount('a', { billing: 'TeamSeat' });
  expect((await get(fixture, QUOTA)).body).toEqual({ code: 500, msg: '当前用户不存在coding plan', success: false });
  await fixture.control.patchAccount('a', { billing: 'PayAsYouGo' });
  expect((await get(fixture, QUOTA)).body).toMatchObject({ code: 500, success: false });
});

test('every quirk of the answer is a knob', async () => {
  await using fixture = await Fixture.start({ plan: 'max-v3' });
  const { control } = fixture;
  await control.knobs({ monitor: { successCode: 0, rowType: 'TOKENS_LIMIT', omitValues: true, reversed: true } });
  expect((await get(fixture, QUOTA)).body['code']).toBe(0);
  expect(await rows(fixture)).toEqual([
    { type: 'TOKENS_LIMIT', unit: 6, number: 1, percentage: 0 },
    { type: 'TOKENS_LIMIT', unit: 3, number: 5, percentage: 0 },
  ]);
  await control.knobs({ monitor: { unknownRow: true, reversed: false } });
  expect((await rows(fixture)).map(({ type }) => type)).toContain('DREAM_LIMIT');
  await control.knobs({ monitor: { answer: 'EmptyLimits' } });
  expect(await rows(fixture)).toEqual([]);
  await control.knobs({ monitor: { answer: 'BadKey' } });
  expect((await get(fixture, QUOTA)).body['code']).toBe(401);
  await control.knobs({ monitor: { answer: 'Html502' } });
  const broken = await fetch(fixture.simulator.url + QUOTA, { headers: { authorization: KEY } });
  expect([broken.status, broken.headers.get('content-type')]).toEqual([502, 'text/html']);
  expect((await control.report()).monitorCalls).toBe(6);
});

test('usage is shown as it was before the lag', async () => {
  await using fixture = await Fixture.start({ plan: 'lite-v3' });
  await fixture.control.knobs({ monitor: { lagMs: 600_000 } });
  await fixture.chat('[[sim prompt=100000 tokens=0]]');
  expect(await rows(fixture)).toMatchObject([{ currentValue: 0 }, { currentValue: 0 }]);
  await fixture.control.clock({ advanceMs: 600_000 });
  expect(await rows(fixture)).toMatchObject([{ currentValue: 34 }, { currentValue: 34 }]);
  await fixture.control.clock({ advanceMs: 5 * HOUR_MS });
  expect(await rows(fixture)).toMatchObject([{ currentValue: 0 }, { currentValue: 34 }]);
});

test('a reset card empties the window and anchors it anew', async () => {
  await using fixture = await Fixture.start({ plan: 'lite-v3' });
  await fixture.chat('[[sim prompt=100000 tokens=0]]');
  const { nowMs } = await fixture.control.clock({ advanceMs: HOUR_MS });
  await fixture.control.setWindow('a', 'five-hour', { used: 0, openedMs: nowMs });
  expect((await rows(fixture))[0]).toMatchObject({ currentValue: 0, nextResetTime: nowMs + 5 * HOUR_MS });
});

test('model usage and tool usage come by the hour, null where nothing was', async () => {
  await using fixture = await Fixture.start({ plan: 'lite-v3' });
  await fixture.chat('[[sim prompt=90 tokens=10]]');
  const range = 'startTime=2026-11-17%2019:00:00&endTime=2026-11-17%2020:59:59';
  const usage = await get(fixture, `/api/monitor/usage/model-usage?${range}`);
  expect(usage.body['data']).toEqual({
    x_time: ['2026-11-17 19:00', '2026-11-17 20:00'],
    modelCallCount: [null, 1],
    tokensUsage: [null, 100],
    totalUsage: {
      totalModelCallCount: 1,
      totalTokensUsage: 100,
      modelSummaryList: [{ modelName: 'glm-5.3', totalTokens: 100 }],
    },
  });
  const tools = await get(fixture, `/api/monitor/usage/tool-usage?${range}`);
  expect(tools.body['data']).toMatchObject({ networkSearchCount: [null, null] });
  expect((await get(fixture, '/api/monitor/usage/model-usage')).body).toMatchObject({ success: false });
});
