import { expect, test } from 'vitest';
import { codeOf, Fixture, KEY, OFF_PEAK_MS, PEAK_MS, question } from './fixture.ts';

const HOUR_MS = 3_600_000;

test('exactly as many calls as the limit allows are in flight, per model', async () => {
  await using fixture = await Fixture.start({ concurrency: { default: 9, models: { 'glm-5.3': 2 } } });
  const held = [fixture.chat('[[sim hold=x]]'), fixture.chat('[[sim hold=x]]')];
  await fixture.control.until(({ inFlight }) => inFlight === 2);
  expect(await codeOf(await fixture.chat())).toBe('1302');
  const other = fixture.chat('[[sim hold=x]]', { model: 'glm-5.3-flash' });
  await fixture.control.until(({ inFlight }) => inFlight === 3);
  await fixture.control.release('x');
  const answers = await Promise.all([...held, other]);
  expect(answers.map(({ status }) => status)).toEqual([200, 200, 200]);
  expect((await fixture.chat()).status).toBe(200);
  const report = await fixture.control.report();
  expect(report.accounts['a']?.models['glm-5.3']).toMatchObject({
    limit: 2,
    inFlight: 0,
    maxInFlight: 3,
    overAdmitted: 1,
    maxExcess: 1,
  });
  expect(report.overAdmission).toMatchObject({ concurrency: 1, maxExcess: 1 });
  expect(report.refused).toEqual({ '1302': 1 });
});

test('sequential calls on one slot are no excess', async () => {
  await using fixture = await Fixture.start({ concurrency: { default: 1 } });
  for (let call = 0; call < 50; call += 1) {
    const response = await fixture.chat('hi', { stream: call % 2 === 0 });
    expect(response.status).toBe(200);
    await response.text();
  }
  const { overAdmission, refused, accepted } = await fixture.control.report();
  expect({ overAdmission, refused, accepted }).toMatchObject({
    overAdmission: { concurrency: 0 },
    refused: {},
    accepted: 50,
  });
});

test('a key more gives an account no slot more', async () => {
  await using fixture = await Fixture.start({ keys: [KEY, 'second.key'], concurrency: { default: 1 } });
  const held = fixture.chat('[[sim hold=x]]');
  await fixture.control.until(({ inFlight }) => inFlight === 1);
  const path = '/api/coding/paas/v4/chat/completions';
  const refused = await fixture.post(path, question(), { authorization: 'Bearer second.key' });
  expect(await codeOf(refused)).toBe('1302');
  await fixture.control.release();
  await held;
});

test('a call whose client has gone is closed, frees its slot and is billed what was delivered', async () => {
  await using fixture = await Fixture.start({ concurrency: { default: 1 } });
  const abort = new AbortController();
  const stream = await fixture.openai().chat.completions.create(
    {
      model: 'glm-5.3',
      stream: true,
      messages: [{ role: 'user', content: '[[sim tokens=8 chunk=2 prompt=10 midhold=x]]' }],
    },
    { signal: abort.signal },
  );
  for await (const _chunk of stream) abort.abort();
  await fixture.control.until(({ inFlight }) => inFlight === 0);
  expect(await fixture.control.calls()).toMatchObject([
    { ending: 'ClientClosed', status: 200, tokens: { input: 10, output: 2 } },
  ]);
  expect((await fixture.chat()).status).toBe(200);
});

test("a slot can lag behind the end of its call, and that is not the caller's excess", async () => {
  await using fixture = await Fixture.start({ concurrency: { default: 1 }, releaseLagMs: 60_000 });
  expect((await fixture.chat()).status).toBe(200);
  expect(await codeOf(await fixture.chat())).toBe('1302');
  const report = await fixture.control.report();
  expect(report.overAdmission.concurrency).toBe(0);
  expect(report.accounts['a']?.models['glm-5.3']).toMatchObject({ lagging: 1, refusedByLag: 1 });
});

test('a changed limit holds at once and calls in flight go on', async () => {
  await using fixture = await Fixture.start({ concurrency: { default: 2 } });
  const held = [fixture.chat('[[sim hold=x]]'), fixture.chat('[[sim hold=x]]')];
  await fixture.control.until(({ inFlight }) => inFlight === 2);
  await fixture.control.patchAccount('a', { concurrency: { default: 1 } });
  expect(await codeOf(await fixture.chat())).toBe('1302');
  await fixture.control.patchAccount('a', { concurrency: null });
  expect((await fixture.chat()).status).toBe(200);
  await fixture.control.release();
  expect((await Promise.all(held)).map(({ status }) => status)).toEqual([200, 200]);
});

test('a burst beyond the rate is refused with 1303', async () => {
  await using fixture = await Fixture.start({ rate: { perSecond: 0.001, burst: 2 } });
  const codes = [];
  for (let call = 0; call < 3; call += 1) codes.push(await codeOf(await fixture.chat()));
  expect(codes).toEqual([undefined, undefined, '1303']);
});

test('a window of prompts is used up at its amount, says its reset in UTC+8, and opens anew after it', async () => {
  await using fixture = await Fixture.start({
    windows: [{ name: 'five-hour', resource: 'Prompts', amount: 2, durationMs: 5 * HOUR_MS }],
  });
  const window = async (): Promise<object | undefined> =>
    (await fixture.control.report()).accounts['a']?.windows['five-hour'];
  expect(await window()).toMatchObject({ used: 0, openedMs: null, resetsMs: null });
  await fixture.control.clock({ advanceMs: HOUR_MS });
  await fixture.chat();
  await fixture.chat();
  const refused = await fixture.chat();
  expect(refused.status).toBe(429);
  expect(await refused.json()).toEqual({
    error: { code: '1308', message: 'Usage limit reached for 5 hour. Your limit will reset at 2026-11-18 02:00:00' },
  });
  const openedMs = OFF_PEAK_MS + HOUR_MS;
  expect(await window()).toMatchObject({ used: 2, openedMs, resetsMs: openedMs + 5 * HOUR_MS, refused: 1, excess: 0 });
  await fixture.control.clock({ advanceMs: 5 * HOUR_MS });
  expect(await window()).toMatchObject({ used: 0, openedMs: null, past: [{ used: 2, refused: 1 }] });
  expect((await fixture.chat()).status).toBe(200);
  expect(await window()).toMatchObject({ used: 1, openedMs: openedMs + 5 * HOUR_MS });
});

test('credits are charged at the end of a call, dearer in peak hours', async () => {
  await using fixture = await Fixture.start({ plan: 'lite-v3' });
  const used = async (): Promise<number | undefined> =>
    (await fixture.control.report()).accounts['a']?.windows['five-hour']?.used;
  await fixture.chat('[[sim prompt=10000 cached=50 tokens=100]]');
  // (5,000 × 6.9 + 5,000 × 1.7 + 100 × 24) / 10,000, half of it off-peak.
  expect(await used()).toBe(2.27);
  await fixture.control.clock({ nowMs: PEAK_MS });
  await fixture.control.setWindow('a', 'five-hour', { used: 0, openedMs: null });
  await fixture.chat('[[sim prompt=10000 cached=50 tokens=100]]');
  expect(await used()).toBe(4.54);
});

test('a credit window lets the call through that runs over it, and the oracle says by how much', async () => {
  await using fixture = await Fixture.start({
    windows: [{ name: 'w', resource: 'Credits', amount: 1, durationMs: 20_000, label: '20 second' }],
  });
  await fixture.chat('[[sim prompt=10000 tokens=100]]');
  const refused = (await (await fixture.chat()).json()) as { error: { message: string } };
  expect(refused.error.message).toBe('Usage limit reached for 20 second. Your limit will reset at 2026-11-17 20:00:20');
  const report = await fixture.control.report();
  expect(report.accounts['a']?.windows['w']).toMatchObject({ used: 3.57, excess: 2.57, refused: 1 });
  expect(report.overAdmission).toMatchObject({ windowCalls: 1, maxWindowExcess: 2.57 });
});

test('the weekly window answers 1310 and wins over the shorter one', async () => {
  await using fixture = await Fixture.start({ plan: 'lite-v2', weightedPrompts: false });
  await fixture.control.setWindow('a', 'weekly', { used: 400 });
  await fixture.control.setWindow('a', 'five-hour', { used: 80 });
  const body = (await (await fixture.chat()).json()) as object;
  expect(body).toEqual({
    error: { code: '1310', message: 'Weekly/Monthly Limit Exhausted. Your limit will reset at 2026-11-24 20:00:00' },
  });
});

test('V2 prompts are weighed by model and hour', async () => {
  await using fixture = await Fixture.start({ plan: 'lite-v2' });
  await fixture.chat();
  await fixture.chat('hi', { model: 'glm-4.7' });
  await fixture.control.clock({ nowMs: PEAK_MS + 24 * HOUR_MS });
  await fixture.chat();
  await fixture.chat('hi', { model: 'glm-4.7' });
  expect((await fixture.control.report()).prompts).toBe(5.6);
});

test('with user turns as prompts, a tool result is none', async () => {
  await using fixture = await Fixture.start({
    promptUnit: 'UserTurn',
    windows: [{ name: 'w', resource: 'Prompts', amount: 10, durationMs: HOUR_MS }],
  });
  const result = { role: 'tool', tool_call_id: 'x', content: 'sunny' };
  await fixture.chat();
  await fixture.chat('', { messages: [{ role: 'user', content: 'weather?' }, result] });
  expect((await fixture.control.report()).prompts).toBe(1);
});

test('a call over a reset is charged where the knob says', async () => {
  await using fixture = await Fixture.start({
    windows: [{ name: 'w', resource: 'Credits', amount: 100, durationMs: HOUR_MS }],
  });
  const run = async (): Promise<object | undefined> => {
    const held = fixture.chat('[[sim hold=x prompt=10000 tokens=0]]');
    await fixture.control.until(({ inFlight }) => inFlight === 1);
    await fixture.control.clock({ advanceMs: HOUR_MS });
    await fixture.control.release();
    await (await held).text();
    await fixture.control.until(({ inFlight }) => inFlight === 0);
    return (await fixture.control.report()).accounts['a']?.windows['w'];
  };
  expect(await run()).toMatchObject({ used: 3.45, past: [{ used: 0 }] });
  await fixture.control.clock({ advanceMs: HOUR_MS });
  await fixture.control.knobs({ accounting: { chargeTo: 'Arrival' } });
  expect(await run()).toMatchObject({ used: 0, openedMs: null, past: [{}, {}, { used: 3.45 }] });
});

test('a prompt the vendor itself lost is given back', async () => {
  await using fixture = await Fixture.start({
    windows: [{ name: 'w', resource: 'Prompts', amount: 10, durationMs: HOUR_MS }],
  });
  await expect(fixture.chat('[[sim fault=reset]]')).rejects.toThrow('fetch failed');
  const report = await fixture.control.until(({ calls }) => calls === 1);
  expect(report.accounts['a']?.windows['w']?.used).toBe(0);
});

test('pay as you go costs list price and ends with the balance', async () => {
  await using fixture = await Fixture.start({ billing: 'PayAsYouGo', balanceUsd: 0.01 });
  const path = '/api/paas/v4/chat/completions';
  const first = await fixture.post(path, question('[[sim prompt=10000 tokens=1000]]', { model: 'glm-5.1' }));
  expect(((await first.json()) as { model: string }).model).toBe('glm-5.1');
  const report = await fixture.control.report();
  expect(report.usd).toBe(0.0184);
  expect(report.accounts['a']?.balanceUsd).toBe(-0.0084);
  expect(await codeOf(await fixture.post(path, question()))).toBe('1113');
  expect(await codeOf(await fixture.chat())).toBe('1113');
});
