import { expect, test } from 'vitest';
import { CHAT, chatBody, World } from './world.ts';

test('200 parallel callers in 3 sidecar processes: the vendor sees no call too many and refuses none', async () => {
  const CALLERS = 200;
  const CALLS = 5;
  await using world = await World.start({ concurrency: 4, requests: 400 });
  const sidecars = await Promise.all([world.sidecar(), world.sidecar(), world.sidecar()]);
  const outcomes = new Map<number, number>();
  const caller = async (index: number): Promise<void> => {
    const { http } = sidecars[index % sidecars.length]!;
    for (let call = 0; call < CALLS;) {
      const response = await fetch(http + CHAT, { method: 'POST', body: chatBody('[[sim ms=20 tokens=10]]') });
      await response.arrayBuffer();
      outcomes.set(response.status, (outcomes.get(response.status) ?? 0) + 1);
      if (response.status === 200 || response.headers.get('x-should-retry') === 'false') call += 1;
      else await new Promise((resolve) => setTimeout(resolve, 50 + 200 * Math.random()));
    }
  };
  await Promise.all(Array.from({ length: CALLERS }, (_, index) => caller(index)));
  const report = await world.control.report();
  console.log(`answers by status: ${JSON.stringify([...outcomes])}`);
  expect(report.overAdmission).toMatchObject({ concurrency: 0, maxExcess: 0 });
  expect(report.refused).toEqual({});
  expect(report.accepted).toBe(400);
  await world.quiet();
  expect(await world.used('Requests')).toBe(400);
  expect(await world.drifts()).toEqual([]);
}, 120_000);
