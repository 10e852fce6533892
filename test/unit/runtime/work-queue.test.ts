import { beforeEach, expect, test } from 'vitest';
import { WorkQueue } from '#operator/runtime/work-queue.ts';
import { ManualClock, settled } from './manual-clock.ts';

let clock: ManualClock;
let queue: WorkQueue;

beforeEach(() => {
  clock = new ManualClock();
  queue = new WorkQueue({ name: 'test', clock });
});

async function takeNow(from: WorkQueue = queue): Promise<string | undefined> {
  return Promise.race([from.take(), settled().then(() => 'nothing')]);
}

test('a key added many times waits once', async () => {
  for (let turn = 0; turn < 5; turn++) queue.add('a');
  expect(queue.depth).toBe(1);
  expect(await takeNow()).toBe('a');
  expect(await takeNow()).toBe('nothing');
});

test('keys come in the order they were added', async () => {
  for (const key of ['b', 'a', 'c']) queue.add(key);
  expect([await takeNow(), await takeNow(), await takeNow()]).toEqual(['b', 'a', 'c']);
});

test('a key added while it is worked on comes again, and only after that work ended', async () => {
  queue.add('a');
  expect(await takeNow()).toBe('a');
  queue.add('a');
  queue.add('a');
  const next = queue.take();
  await settled();
  expect(queue.depth).toBe(0);
  queue.done('a');
  expect(await next).toBe('a');
  queue.done('a');
  expect(await takeNow()).toBe('nothing');
});

test('a delayed key comes when it is due and not before', async () => {
  queue.addAfter('a', 500);
  const taken = queue.take();
  let came = false;
  void taken.then(() => (came = true));
  await clock.advance(499);
  expect(came).toBe(false);
  await clock.advance(1);
  expect(await taken).toBe('a');
});

test('of several delays of a key the shortest counts, and adding it now beats them all', async () => {
  queue.addAfter('a', 500);
  queue.addAfter('a', 100);
  queue.addAfter('a', 900);
  await clock.advance(100);
  expect(await takeNow()).toBe('a');
  queue.done('a');
  queue.addAfter('b', 50);
  queue.add('b');
  expect(await takeNow()).toBe('b');
  queue.done('b');
  await clock.advance(10_000);
  expect(queue.depth).toBe(0);
});

test('a key that keeps failing waits twice as long each time until it succeeds', async () => {
  const waits: number[] = [];
  for (let turn = 0; turn < 5; turn++) {
    queue.addRateLimited('a');
    waits.push(clock.pending[0] ?? -1);
    await clock.advance(waits.at(-1) ?? 0);
    expect(await takeNow()).toBe('a');
    queue.done('a');
  }
  expect(waits).toEqual([5, 10, 20, 40, 80]);
  queue.forget('a');
  queue.addRateLimited('a');
  expect(clock.pending[0]).toBe(5);
});

test('many failing keys together are held to the common rate', async () => {
  queue = new WorkQueue({ name: 'test', clock, limits: { perSecond: 10, burst: 3, firstDelayMs: 1 } });
  for (let index = 0; index < 13; index++) queue.addRateLimited(`key-${index}`);
  await clock.advance(1);
  expect(queue.depth).toBe(3);
  await clock.advance(1000);
  expect(queue.depth).toBe(13);
});

test('closing ends waiting takers, drops what waits and accepts nothing more', async () => {
  const taken = queue.take();
  queue.close();
  expect(await taken).toBeUndefined();
  queue.add('a');
  queue.addAfter('b', 1);
  await clock.advance(10);
  expect(await queue.take()).toBeUndefined();
});

test('ten thousand delayed keys come out in the order of their times', async () => {
  const delays = Array.from({ length: 10_000 }, (_, index) => 1 + ((index * 7919) % 9973));
  delays.forEach((delay, index) => queue.addAfter(`${delay}/${index}`, delay));
  await clock.advance(10_000);
  const order: number[] = [];
  while (queue.depth > 0) order.push(Number((await queue.take())?.split('/')[0]));
  expect(order).toEqual(delays.toSorted((a, b) => a - b));
});
