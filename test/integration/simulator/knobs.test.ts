import { expect, test } from 'vitest';
import type { AccountingKnobs } from '#test/support/glm-simulator/terms.ts';
import { codeOf, Fixture } from './fixture.ts';

const HOUR_MS = 3_600_000;

test('errors speak Chinese always, or unless English is accepted', async () => {
  await using fixture = await Fixture.start({}, { knobs: { errors: { language: 'ByHeader' } } });
  const path = '/api/coding/paas/v4/chat/completions';
  const body = { model: 'glm-99', messages: [{ role: 'user', content: 'hi' }] };
  const message = async (language: string): Promise<unknown> => {
    const response = await fixture.post(path, body, { 'accept-language': language });
    return ((await response.json()) as { error: { message: string } }).error.message;
  };
  expect(await message('en-US,en')).toBe('Unknown Model, please check the model code.');
  expect(await message('zh-CN')).toBe('模型不存在，请检查模型代码。');
  await fixture.control.knobs({ errors: { language: 'Chinese' } });
  expect(await message('en-US,en')).toBe('模型不存在，请检查模型代码。');
});

test('a soft or unenforced limit lets calls pass, and the oracle still counts them', async () => {
  await using fixture = await Fixture.start({ concurrency: { default: 1, slack: 1 } });
  const held = [fixture.chat('[[sim hold=x]]'), fixture.chat('[[sim hold=x]]')];
  await fixture.control.until(({ inFlight }) => inFlight === 2);
  expect(await codeOf(await fixture.chat())).toBe('1302');
  await fixture.control.knobs({ accounting: { enforceConcurrency: false } });
  expect((await fixture.chat()).status).toBe(200);
  await fixture.control.release();
  await Promise.all(held);
  const { overAdmission, accepted } = await fixture.control.report();
  expect(accepted).toBe(3);
  expect(overAdmission).toMatchObject({ concurrency: 3, maxExcess: 2 });
});

test('an unenforced window lets calls pass, and the oracle still counts the excess', async () => {
  await using fixture = await Fixture.start({
    windows: [{ name: 'w', resource: 'Prompts', amount: 1, durationMs: HOUR_MS }],
  });
  await fixture.control.knobs({ accounting: { enforceWindows: false } });
  for (let call = 0; call < 3; call += 1) expect((await fixture.chat()).status).toBe(200);
  expect((await fixture.control.report()).overAdmission).toMatchObject({ windowCalls: 2, maxWindowExcess: 2 });
});

test('a window notices late when it has a tolerance', async () => {
  await using fixture = await Fixture.start({
    windows: [{ name: 'w', resource: 'Prompts', amount: 1, durationMs: HOUR_MS, tolerance: 1 }],
  });
  const codes = [];
  for (let call = 0; call < 3; call += 1) codes.push(await codeOf(await fixture.chat()));
  expect(codes).toEqual([undefined, undefined, '1308']);
});

test('what an aborted call costs is a knob', async () => {
  await using fixture = await Fixture.start();
  const billed = async (billAborted: AccountingKnobs['billAborted']): Promise<object | undefined> => {
    await fixture.control.knobs({ accounting: { billAborted } });
    await fixture.control.resetReport();
    await fixture
      .chat('[[sim fault=midreset:1 tokens=16 chunk=4 prompt=9]]', { stream: true })
      .then(async (response) => await response.text())
      .catch(() => undefined);
    await fixture.control.until(({ calls }) => calls === 1);
    const [call] = await fixture.control.calls();
    return call?.tokens;
  };
  expect(await billed('Full')).toMatchObject({ input: 9, output: 16 });
  expect(await billed('Delivered')).toMatchObject({ input: 9, output: 4 });
  expect(await billed('None')).toMatchObject({ input: 0, output: 0 });
});

test('a window can be anchored when its first call ends instead of when it comes', async () => {
  await using fixture = await Fixture.start({
    windows: [{ name: 'w', resource: 'Credits', amount: 100, durationMs: HOUR_MS }],
  });
  await fixture.control.knobs({ accounting: { anchor: 'End' } });
  const held = fixture.chat('[[sim hold=x prompt=10000]]');
  await fixture.control.until(({ inFlight }) => inFlight === 1);
  const window = async (): Promise<object | undefined> => (await fixture.control.report()).accounts['a']?.windows['w'];
  expect(await window()).toMatchObject({ openedMs: null });
  const { nowMs } = await fixture.control.clock({ advanceMs: 60_000 });
  await fixture.control.release();
  await (await held).text();
  await fixture.control.until(({ inFlight }) => inFlight === 0);
  expect(await window()).toMatchObject({ openedMs: nowMs, resetsMs: nowMs + HOUR_MS });
});

test('answers take the time the knobs say, and the slot is held for it', async () => {
  await using fixture = await Fixture.start({}, { knobs: { answer: { firstTokenMs: 20, totalMs: 60 } } });
  await (await fixture.chat('hi', { stream: true })).text();
  await (await fixture.chat('hi')).text();
  await fixture.control.until(({ inFlight }) => inFlight === 0);
  // Lower bounds only: timers never end early by more than their rounding.
  for (const { startMs, endMs } of await fixture.control.calls()) expect(endMs - startMs).toBeGreaterThan(55);
});

test('a dated promotion makes peak hours cheap', async () => {
  await using fixture = await Fixture.start();
  const credits = async (nowMs: number): Promise<number> => {
    await fixture.control.clock({ nowMs });
    await fixture.control.resetReport();
    await fixture.chat('[[sim prompt=10000 tokens=0]]');
    return (await fixture.control.report()).credits;
  };
  // Two Thursdays at 15:00 in UTC+8: within the promotion of the facts file, and after it.
  expect(await credits(Date.UTC(2026, 9, 1, 7))).toBe(3.45);
  expect(await credits(Date.UTC(2026, 9, 8, 7))).toBe(6.9);
});
