import { expect, test } from 'vitest';
import { systemClock } from '#sidecar/base/clock.ts';
import { AppError } from '#sidecar/base/errors.ts';
import { createRegistry } from '#sidecar/base/metrics.ts';
import { type HealthOptions, startHealth } from '#operator/runtime/health.ts';

async function get(port: number, path: string): Promise<[number, string]> {
  const reply = await fetch(`http://127.0.0.1:${port}${path}`);
  return [reply.status, await reply.text()];
}

const base: HealthOptions = {
  host: '127.0.0.1',
  port: 0,
  live: {},
  ready: {},
  registry: createRegistry(),
  clock: systemClock,
};

test('a failing check is named with its reason, and only where it counts', async () => {
  const redis = () => {
    throw new AppError('unavailable', 'Redis is away');
  };
  await using health = await startHealth({ ...base, ready: { caches: () => undefined, redis } });
  expect(await get(health.port, '/healthz')).toEqual([200, 'ok\n']);
  const [status, text] = await get(health.port, '/readyz');
  expect(status).toBe(503);
  expect(text).toContain('[+] caches');
  expect(text).toContain('[-] redis: Redis is away');
});

test('a draining process is alive but not ready', async () => {
  await using health = await startHealth(base);
  expect((await get(health.port, '/readyz'))[0]).toBe(200);
  health.drain();
  expect((await get(health.port, '/readyz'))[0]).toBe(503);
  expect((await get(health.port, '/healthz'))[0]).toBe(200);
});
