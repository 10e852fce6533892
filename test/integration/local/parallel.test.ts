import { setTimeout as delay } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { SimulatorControl } from '#test/support/glm-simulator/control.ts';
import { startSimulator } from '#test/support/glm-simulator/simulator.ts';
import { KEY, Local, quotaFile } from './fixture.ts';

const CALLERS = 200;
const WINDOW = 60;
const SLOTS = 3;
const DEADLINE_MS = 90_000;

/** Calls until it is granted or told that no slot will help: as an agent with retries does. */
async function call(origin: string, deadlineMs: number): Promise<string> {
  const body = JSON.stringify({ model: 'glm-5.3', messages: [{ role: 'user', content: '[[sim tokens=4 ms=30]]' }] });
  const init = { method: 'POST', headers: { 'content-type': 'application/json' }, body };
  while (Date.now() < deadlineMs) {
    const answer = await fetch(`${origin}/api/coding/paas/v4/chat/completions`, init);
    await answer.text();
    if (answer.status === 200) return 'granted';
    const refusal = `${answer.status} ${answer.headers.get('x-glmquota-denied-by') ?? 'by the vendor'}`;
    if (!/concurrency/.test(refusal)) return refusal;
    await delay(20 + Math.random() * 80);
  }
  return 'never granted';
}

test('200 parallel callers over 3 sidecars never exceed what the vendor allows', { timeout: 180_000 }, async () => {
  const window = { name: 'five-hour', resource: 'Prompts' as const, amount: WINDOW, durationMs: 5 * 3_600_000 };
  const account = { id: 'a', keys: [KEY], concurrency: { default: SLOTS }, windows: [window] };
  await using simulator = await startSimulator({ config: { accounts: [account] } });
  const yaml = quotaFile({
    origin: simulator.url,
    account: `concurrency: { max: ${SLOTS} },
  limits: [{ name: five-hour, resource: Prompts, amount: ${WINDOW}, window: { type: Anchored, duration: 5h } }]`,
    quota: 'limits: [{ name: five-hour, amount: "100%" }]',
  });
  await using first = await Local.start(yaml);
  await using second = await Local.start(yaml, ['--redis', first.redisUrl]);
  await using third = await Local.start(yaml, ['--redis', first.redisUrl, '--quota', 'glm/team']);
  const origins = [first, second, third].map((local) => local.variable('OPENAI_HOST'));
  expect(new Set(origins).size).toBe(3);

  const deadlineMs = Date.now() + DEADLINE_MS;
  const ends = await Promise.all(
    Array.from({ length: CALLERS }, (_, index) => call(origins[index % 3] ?? '', deadlineMs)),
  );

  const counts = Map.groupBy(ends, (end) => end);
  expect(counts.get('granted')?.length).toBe(WINDOW);
  expect([...counts.keys()].toSorted((a, b) => a.localeCompare(b))).toEqual([
    expect.stringMatching(/^429 .*five-hour/),
    'granted',
  ]);
  const report = await new SimulatorControl(simulator.controlUrl).report();
  expect(report.accepted).toBe(WINDOW);
  expect(report.refused).toEqual({});
  expect(report.overAdmission).toEqual({ concurrency: 0, maxExcess: 0, windowCalls: 0, maxWindowExcess: 0 });
});
