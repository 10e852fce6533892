import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { publish, withLock } from '#test/cluster/cache.ts';

let folder: string;
const log = (): void => undefined;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'cache-'));
});

afterEach(() => rmSync(folder, { recursive: true, force: true }));

test('work under one lock never overlaps', async () => {
  let running = 0;
  let most = 0;
  const work = async (): Promise<void> => {
    most = Math.max(most, ++running);
    await new Promise((resolve) => setImmediate(resolve));
    running--;
  };
  await Promise.all([1, 2, 3].map(() => withLock(join(folder, 'lock'), { log }, work)));
  expect({ most, running, isLocked: existsSync(join(folder, 'lock')) }).toEqual({
    most: 1,
    running: 0,
    isLocked: false,
  });
});

test('the lock of a dead process is broken', async () => {
  writeFileSync(join(folder, 'lock'), JSON.stringify({ pid: process.pid, startTicks: 1 }));
  expect(await withLock(join(folder, 'lock'), { log }, () => Promise.resolve('done'))).toBe('done');
});

test('a lock is given back when the work fails', async () => {
  const work = (): Promise<never> => Promise.reject(new Error('broken'));
  await expect(withLock(join(folder, 'lock'), { log }, work)).rejects.toThrow('broken');
  expect(existsSync(join(folder, 'lock'))).toBe(false);
});

test('what was published is whole, and a failure publishes nothing', async () => {
  await publish(join(folder, 'good'), (partial) => writeFile(partial, 'all of it'));
  const half = async (partial: string): Promise<void> => {
    await writeFile(partial, 'half');
    throw new Error('broken');
  };
  await expect(publish(join(folder, 'bad'), half)).rejects.toThrow('broken');
  expect(readdirSync(folder)).toEqual(['good']);
  expect(readFileSync(join(folder, 'good'), 'utf8')).toBe('all of it');
});

test('what a killed process left half made is removed by the next publication', async () => {
  writeFileSync(join(folder, `big.partial-${2 ** 22}`), 'half');
  await publish(join(folder, 'good'), (partial) => writeFile(partial, 'whole'));
  expect(readdirSync(folder)).toEqual(['good']);
});
