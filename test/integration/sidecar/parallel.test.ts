import { expect, test } from 'vitest';
import { CHAT, chatBody, NOTHING, World } from './world.ts';
import type { RunningSidecar } from './fixture.ts';

/** Callers in a closed loop, spread over the sidecars, each until its `calls` are answered; gives how often each status came. */
async function load(sidecars: readonly RunningSidecar[], callers: number, calls: number): Promise<Map<number, number>> {
  const answers = new Map<number, number>();
  const caller = async (index: number): Promise<void> => {
    const { http } = sidecars[index % sidecars.length]!;
    for (let call = 0; call < calls;) {
      const response = await fetch(http + CHAT, { method: 'POST', body: chatBody('[[sim ms=20 tokens=10]]') });
      await response.arrayBuffer();
      answers.set(response.status, (answers.get(response.status) ?? 0) + 1);
      if (response.status === 200 || response.headers.get('x-should-retry') === 'false') call += 1;
      else await new Promise((resolve) => setTimeout(resolve, 100 + 400 * Math.random()));
    }
  };
  await Promise.all(Array.from({ length: callers }, (_, index) => caller(index)));
  return answers;
}

test('200 parallel callers in 3 sidecar processes: the vendor sees no call too many and refuses none', async () => {
  await using world = await World.start({ concurrency: 4, requests: 200 });
  const sidecars = await Promise.all([world.sidecar(), world.sidecar(), world.sidecar()]);
  const answers = await load(sidecars, 200, 3);
  console.log(`answers by status: ${JSON.stringify([...answers])}`);
  const report = await world.control.report();
  expect(report.refused).toEqual({});
  expect(report.accepted).toBe(200);
  expect(await world.remains()).toEqual(NOTHING);
  expect(await world.used('Requests')).toBe(200);
}, 300_000);

test('Redis restarted under load: calls meanwhile get 503, no count is lost, the vendor sees no call too many', async () => {
  await using world = await World.start({ concurrency: 4, requests: 200 });
  const sidecars = await Promise.all([world.sidecar(), world.sidecar()]);
  const loading = load(sidecars, 40, 8);
  await world.until(async () => (await world.control.report()).accepted >= 50);
  await world.redis.stop();
  await new Promise((resolve) => setTimeout(resolve, 1000));
  await world.redis.restart();
  const answers = await loading;
  console.log(`answers by status: ${JSON.stringify([...answers])}`);
  expect(answers.get(503)).toBeGreaterThan(0);
  const report = await world.control.report();
  expect(report.refused).toEqual({});
  expect(report.accepted).toBe(200);
  expect(await world.remains()).toEqual(NOTHING);
  expect(await world.used('Requests')).toBe(200);
}, 300_000);
