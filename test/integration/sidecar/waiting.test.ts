import { expect, test } from 'vitest';
import { CHAT, chatBody, NOTHING, PATIENT, World } from './world.ts';
import type { RunningSidecar } from './fixture.ts';

const send = ({ http }: RunningSidecar, text = '', init: RequestInit = {}) =>
  fetch(http + CHAT, { method: 'POST', body: chatBody(text), ...init });

/** Sends and reads to the end; gives the status. */
async function done(sidecar: RunningSidecar, text = '', init: RequestInit = {}): Promise<number> {
  const response = await send(sidecar, text, init);
  await response.arrayBuffer();
  return response.status;
}

const waiting = async (sidecar: RunningSidecar): Promise<number> =>
  Number(/^glmquota_calls_waiting (\d+)/m.exec(await sidecar.metrics())?.[1]);

test('S1.9 a hundred calls with room for one all complete, in the order they came', async () => {
  await using world = await World.start({ concurrency: 1, binding: PATIENT });
  const sidecar = await world.sidecar();
  const order: number[] = [];
  const first = done(sidecar, '[[sim hold=first]]');
  await world.until(async () => (await world.control.flights()).length === 1);
  const calls: Promise<unknown>[] = [];
  for (let number = 0; number < 99; number++) {
    calls.push(done(sidecar, '[[sim ms=1 tokens=2]]').then((status) => order.push(status === 200 ? number : -1)));
    await world.until(async () =>
      (await world.tree()).nodes.some(({ name, queued }) => name === 'account' && queued === number + 1),
    );
  }
  await world.control.release('first');
  expect(await first).toBe(200);
  await Promise.all(calls);
  expect(order).toEqual(Array.from({ length: 99 }, (_, number) => number));
  expect((await world.control.report()).refused).toEqual({});
  expect(await world.remains()).toEqual(NOTHING);
}, 120_000);

test('a freed slot goes to the call that waits in another process', async () => {
  await using world = await World.start({ concurrency: 1, binding: PATIENT });
  const [one, other] = [await world.sidecar(), await world.sidecar()];
  const first = done(one, '[[sim hold=first]]');
  await world.until(async () => (await world.control.flights()).length === 1);
  const second = done(other);
  await world.until(async () => (await waiting(other)) === 1);
  await world.control.release('first');
  expect([await first, await second]).toEqual([200, 200]);
  expect(await world.remains()).toEqual(NOTHING);
});

test('many callers of three processes all complete, and the vendor sees no call too many', async () => {
  await using world = await World.start({ concurrency: 3, binding: PATIENT });
  const sidecars = await Promise.all([world.sidecar(), world.sidecar(), world.sidecar()]);
  const callers = Array.from({ length: 30 }, async (_, index) => {
    const statuses: number[] = [];
    for (let call = 0; call < 5; call++) statuses.push(await done(sidecars[index % 3]!, '[[sim ms=10 tokens=5]]'));
    return statuses;
  });
  const statuses = (await Promise.all(callers)).flat();
  expect(statuses).toEqual(Array.from({ length: 150 }, () => 200));
  expect((await world.control.report()).refused).toEqual({});
  expect(await world.remains()).toEqual(NOTHING);
}, 120_000);

test('T5 a client that leaves the queue is out of it; the same request comes back to its place', async () => {
  await using world = await World.start({ concurrency: 1, binding: PATIENT });
  const sidecar = await world.sidecar();
  const first = done(sidecar, '[[sim hold=first]]');
  await world.until(async () => (await world.control.flights()).length === 1);
  const gone = new AbortController();
  const left = send(sidecar, 'me', { signal: gone.signal }).catch((error: unknown) => error);
  await world.until(async () => (await waiting(sidecar)) === 1);
  const order: string[] = [];
  const other = done(sidecar, 'other').then(() => order.push('other'));
  await world.until(async () => (await waiting(sidecar)) === 2);
  gone.abort();
  await left;
  await world.until(async () => (await waiting(sidecar)) === 1);
  const back = done(sidecar, 'me').then(() => order.push('me'));
  await world.until(async () => (await waiting(sidecar)) === 2);
  await world.control.release('first');
  await Promise.all([first, other, back]);
  expect(order).toEqual(['me', 'other']);
  expect(await world.remains()).toEqual(NOTHING);
});

test('Q7 a vendor that allows fewer calls than we think: no client sees a refusal', async () => {
  const adaptive = { min: 1, start: 3 };
  await using world = await World.start({
    concurrency: 3,
    vendorConcurrency: 1,
    binding: { ...PATIENT, retry: { maxAttempts: 10, baseDelayMs: 50, factorPermille: 1500, maxDelayMs: 500 } },
    nodes: (node) => (node.name.startsWith('model:') ? { ...node, adaptive } : node),
  });
  const sidecar = await world.sidecar();
  const statuses = await Promise.all(Array.from({ length: 12 }, () => done(sidecar, '[[sim ms=30 tokens=5]]')));
  expect(statuses).toEqual(Array.from({ length: 12 }, () => 200));
  const { refused, accepted } = await world.control.report();
  console.log(`refused: ${JSON.stringify(refused)}`);
  expect(accepted).toBe(12);
  await world.quiet();
  expect(await world.drifts()).toEqual([]);
  expect(await world.used('Requests')).toBe(12);
});

test('calls wait for a window to open', async () => {
  await using world = await World.start({
    binding: PATIENT,
    nodes: (node) =>
      node.name === 'account'
        ? {
            ...node,
            limits: [{ name: 'burst', resource: 'Requests', amount: 2, window: { type: 'Fixed', durationMs: 2000 } }],
          }
        : node,
  });
  const sidecar = await world.sidecar();
  const statuses = await Promise.all(Array.from({ length: 6 }, () => done(sidecar)));
  expect(statuses).toEqual([200, 200, 200, 200, 200, 200]);
});

test('calls wait for their rate', async () => {
  await using world = await World.start({
    binding: PATIENT,
    nodes: (node) => (node.name === 'account' ? { ...node, rate: { intervalUs: 100_000, burst: 1 } } : node),
  });
  const sidecar = await world.sidecar();
  const statuses = await Promise.all(Array.from({ length: 10 }, () => done(sidecar)));
  expect(new Set(statuses)).toEqual(new Set([200]));
});

test('a call that waits longer than it may is refused by what holds it', async () => {
  await using world = await World.start({ concurrency: 1, binding: PATIENT });
  const sidecar = await world.sidecar();
  const first = done(sidecar, '[[sim hold=first]]');
  await world.until(async () => (await world.control.flights()).length === 1);
  const response = await send(sidecar, '', { headers: { 'x-glmquota-max-wait': '300ms' } });
  expect([response.status, response.headers.get('x-glmquota-denied-by')]).toEqual([429, 'model:glm-5.3/concurrency']);
  expect((await world.tree()).nodes.every(({ queued }) => queued === 0)).toBe(true);
  await world.control.release('first');
  expect(await first).toBe(200);
});

test('a second SIGTERM lets waiting calls go with 503, and they are out of the queue', async () => {
  await using world = await World.start({ concurrency: 1, binding: PATIENT });
  const [holder, leaving] = [await world.sidecar(), await world.sidecar()];
  const first = done(holder, '[[sim hold=first]]');
  await world.until(async () => (await world.control.flights()).length === 1);
  const refused = send(leaving);
  await world.until(async () => (await waiting(leaving)) === 1);
  leaving.child.kill('SIGTERM');
  await world.until(() => leaving.lines.some((line) => line.includes('sidecar.stopping')));
  leaving.child.kill('SIGTERM');
  expect((await refused).status).toBe(503);
  expect(await leaving.ended()).toBe(0);
  expect((await world.tree()).nodes.every(({ queued }) => queued === 0)).toBe(true);
  await world.control.release('first');
  expect(await first).toBe(200);
});

test('Redis restarted while calls wait: they ask again and all complete', async () => {
  await using world = await World.start({ concurrency: 1, binding: PATIENT });
  const sidecar = await world.sidecar();
  const first = done(sidecar, '[[sim hold=first]]');
  await world.until(async () => (await world.control.flights()).length === 1);
  const others = Array.from({ length: 5 }, () => done(sidecar, '[[sim ms=10 tokens=5]]'));
  await world.until(async () => (await waiting(sidecar)) === 5);
  await world.redis.stop();
  await world.redis.restart();
  await world.control.release('first');
  expect([await first, ...(await Promise.all(others))]).toEqual([200, 200, 200, 200, 200, 200]);
  expect((await world.control.report()).refused).toEqual({});
  expect(await world.remains()).toEqual(NOTHING);
});

test('F4 LocalShare: calls go on while Redis is away, and are counted when it is back', async () => {
  await using world = await World.start({
    concurrency: 2,
    binding: {
      ...PATIENT,
      onStoreFailure: { policy: 'LocalShare', localSharePercent: 100, maxDurationMs: 300_000 },
    },
  });
  const sidecar = await world.sidecar();
  const running = done(sidecar, '[[sim hold=beat]]');
  // The limits are read with the first beat.
  await world.until(async () =>
    /redis_call_duration_seconds_count\{call="snapshot"\} [1-9]/.test(await sidecar.metrics()),
  );
  await world.control.release('beat');
  expect(await running).toBe(200);
  await world.redis.stop();
  const statuses = await Promise.all(Array.from({ length: 6 }, () => done(sidecar, '[[sim ms=20 tokens=10]]')));
  expect(new Set(statuses)).toEqual(new Set([200]));
  await world.redis.restart();
  await world.until(async () => (await world.used('Requests')) === 7);
  expect(await world.remains()).toEqual(NOTHING);
  expect(sidecar.lines.some((line) => line.includes('store.outage'))).toBe(true);
});
