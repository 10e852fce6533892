import { beforeEach, expect, test } from 'vitest';
import { AppError } from '#sidecar/base/errors.ts';
import { createLog } from '#sidecar/base/log.ts';
import { createRegistry } from '#sidecar/base/metrics.ts';
import { Controller, type ControllerOptions, DONE, type Reconcile } from '#operator/runtime/controller.ts';
import { createRuntimeMetrics } from '#operator/runtime/metrics.ts';
import { ManualClock, settled } from './manual-clock.ts';

let clock: ManualClock;
let stop: AbortController;

beforeEach(() => {
  clock = new ManualClock();
  stop = new AbortController();
});

function make(reconcile: Reconcile, options: Partial<ControllerOptions> = {}): Controller {
  return new Controller({ name: 'test', reconcile, clock, log: createLog('silent'), ...options });
}

test('a failing reconciliation is tried again and does not disturb other keys', async () => {
  const seen: string[] = [];
  const controller = make(async (key) => {
    seen.push(key);
    if (key === 'bad' && seen.filter((each) => each === 'bad').length < 3) throw new TypeError('a bug');
    return DONE;
  });
  const running = controller.run(stop.signal);
  controller.queue.add('bad');
  controller.queue.add('good');
  await settled();
  expect(seen).toEqual(['bad', 'good']);
  await clock.advance(1000);
  expect(seen).toEqual(['bad', 'good', 'bad', 'bad']);
  expect(controller.queue.failures('bad')).toBe(0);
  stop.abort();
  await running;
});

test('an error that trying again cannot cure waits for the next change', async () => {
  let tries = 0;
  const controller = make(async () => {
    tries += 1;
    throw new AppError('invalid', 'a wrong spec');
  });
  const running = controller.run(stop.signal);
  controller.queue.add('a');
  await clock.advance(10_000_000);
  expect(tries).toBe(1);
  controller.queue.add('a');
  await settled();
  expect(tries).toBe(2);
  stop.abort();
  await running;
});

test('a reconciliation that hangs is ended by its deadline and tried again', async () => {
  const ends: string[] = [];
  const controller = make(
    async (_, signal) => {
      signal.addEventListener('abort', () => ends.push((signal.reason as AppError).code), { once: true });
      return new Promise(() => undefined);
    },
    { deadlineMs: 1000 },
  );
  const running = controller.run(stop.signal);
  controller.queue.add('a');
  await clock.advance(1000);
  expect(ends).toEqual(['deadline']);
  expect(controller.queue.failures('a')).toBe(1);
  stop.abort();
  await clock.advance(60_000);
  await running;
});

test('as many keys are worked on at once as configured, each key by one worker', async () => {
  const active = new Map<string, number>();
  let most = 0;
  let overlaps = 0;
  const controller = make(
    async (key) => {
      active.set(key, (active.get(key) ?? 0) + 1);
      if ((active.get(key) ?? 0) > 1) overlaps += 1;
      most = Math.max(
        most,
        [...active.values()].reduce((sum, each) => sum + each, 0),
      );
      await clock.sleep(10);
      active.set(key, (active.get(key) ?? 0) - 1);
      return DONE;
    },
    { concurrency: 3 },
  );
  const running = controller.run(stop.signal);
  for (let round = 0; round < 5; round++) {
    for (const key of ['a', 'b', 'c', 'd']) controller.queue.add(key);
    await clock.advance(7);
  }
  await clock.advance(100);
  expect({ most, overlaps }).toEqual({ most: 3, overlaps: 0 });
  stop.abort();
  await running;
});

test('stopping lets what is under way end, and takes up nothing new', async () => {
  const seen: string[] = [];
  const controller = make(async (key, signal) => {
    seen.push(`${key} begun`);
    await clock.sleep(5000, signal);
    seen.push(`${key} ended`);
    return DONE;
  });
  const running = controller.run(stop.signal);
  controller.queue.add('a');
  controller.queue.add('b');
  await settled();
  stop.abort();
  await clock.advance(5000);
  await running;
  expect(seen).toEqual(['a begun', 'a ended']);
});

test('stopping does not wait longer than the drain time', async () => {
  const controller = make(async (_, signal) => clock.sleep(1_000_000, signal).then(() => DONE), {
    drainMs: 3000,
    deadlineMs: 2_000_000,
  });
  const running = controller.run(stop.signal);
  controller.queue.add('a');
  await settled();
  stop.abort();
  const stoppedAtMs = clock.monotonicMs();
  await clock.advance(3000);
  await running;
  expect(clock.monotonicMs() - stoppedAtMs).toBe(3000);
});

test('losing the leadership ends what is under way at once', async () => {
  const lost = new AbortController();
  let reason: unknown;
  const controller = make(async (_, signal) => {
    await clock.sleep(50_000, signal).catch((each: unknown) => (reason = each));
    return DONE;
  });
  const running = controller.run(stop.signal, lost.signal);
  controller.queue.add('a');
  await settled();
  lost.abort(new AppError('conflict', 'another process took the lease'));
  await settled();
  await running;
  expect(reason).toBe(lost.signal.reason);
});

test('outcomes are counted under the usual names', async () => {
  const registry = createRegistry();
  const metrics = createRuntimeMetrics(registry, { controllers: ['test'], resources: [], leases: [] });
  const controller = make(async (key) => (key === 'later' ? { kind: 'again', afterMs: 1e9 } : DONE), { metrics });
  const running = controller.run(stop.signal);
  for (const key of ['a', 'b', 'later']) controller.queue.add(key);
  await settled();
  const text = await registry.metrics();
  expect(text).toContain('controller_runtime_reconcile_total{controller="test",result="success"} 2');
  expect(text).toContain('controller_runtime_reconcile_total{controller="test",result="requeue_after"} 1');
  expect(text).toContain('controller_runtime_reconcile_total{controller="test",result="error"} 0');
  expect(text).toContain('workqueue_adds_total{name="test"} 3');
  expect(text).toContain('workqueue_depth{name="test"} 0');
  stop.abort();
  await running;
});
