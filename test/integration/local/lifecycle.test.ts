import { readdir, stat } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { startRedis } from '#test/support/redis.ts';
import { eventually, KEY, Local, quotaFile } from './fixture.ts';

/** Nothing is called in these tests; nothing listens there. */
const origin = 'http://127.0.0.1:9';
const yaml = quotaFile({ origin });

function answers(url: string): Promise<boolean> {
  const { hostname, port } = new URL(url);
  return new Promise((resolve) => {
    const socket = connect(Number(port), hostname);
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false));
    socket.once('connect', () => socket.destroy());
  });
}

describe('its end', () => {
  test.each(['SIGINT', 'SIGTERM'] as const)(
    '%s stops sidecar and Redis, removes all files, and is no failure',
    async (signal) => {
      await using local = await Local.start(yaml);
      const [redis, proxy] = [local.redisUrl, local.variable('OPENAI_HOST')];
      local.process.kill(signal);
      expect(await local.exit()).toBe(0);
      expect([await answers(redis), await answers(proxy)]).toEqual([false, false]);
      expect(await readdir(local.folder)).toEqual(['quota.yaml']);
    },
  );

  test('killed with SIGKILL it takes sidecar and Redis with it', async () => {
    await using local = await Local.start(yaml);
    const [redis, proxy] = [local.redisUrl, local.variable('OPENAI_HOST')];
    local.process.kill('SIGKILL');
    expect(await local.exit()).toBe('SIGKILL');
    await eventually(async () => !(await answers(redis)) && !(await answers(proxy)), 'the programs to end');
  });

  test('the Redis of somebody else is left alone', async () => {
    await using redis = await startRedis();
    await using local = await Local.start(yaml, ['--redis', redis.url]);
    local.process.kill('SIGTERM');
    expect(await local.exit()).toBe(0);
    expect(await answers(redis.url)).toBe(true);
  });
});

test('the snapshot with the key is readable by its owner only', async () => {
  await using local = await Local.start(yaml);
  const [folder] = (await readdir(local.folder)).filter((name) => name.startsWith('glmquota-local-'));
  const path = join(local.folder, folder!);
  const modes = [(await stat(path)).mode, (await stat(join(path, 'snapshot.json'))).mode].map((mode) => mode & 0o777);
  expect(modes).toEqual([0o700, 0o600]);
});

describe('what cannot run ends with 2 and says what to write', () => {
  test.each([
    ['a wrong field', quotaFile({ origin, quota: 'colour: red' }), [], /spec\.colour: is not a field/],
    [
      'an unknown plan',
      quotaFile({ origin, account: 'plan: { name: Ultra, generation: Credits }' }),
      [],
      /UnknownPlan: .* it has .*Max\/Credits/,
    ],
    [
      'a window of 0',
      quotaFile({
        origin,
        quota: 'limits: [{ name: x, resource: Requests, amount: 1, window: { type: Sliding, duration: 0s } }]',
      }),
      [],
      /limits\[0\]\.window\.duration/,
    ],
    ['a quota that is not there', yaml, ['--quota', 'glm/other'], /they have glm\/team/],
    ['plain http to another machine', quotaFile({ origin: 'http://10.0.0.1' }), [], /OriginNotAllowed/],
    ['plain Redis on another machine', yaml, ['--redis', 'redis://10.0.0.1:6379'], /use rediss:\/\//],
  ])('%s', async (_, text, args, message) => {
    await using local = await Local.launch(text, args);
    expect(await local.exit()).toBe(2);
    expect(local.error).toMatch(message);
    expect(local.error).not.toContain(KEY);
    expect(local.output).toBe('');
  });
});

test('help is printed on standard output', async () => {
  await using local = await Local.launch(yaml, ['--help']);
  expect(await local.exit()).toBe(0);
  expect(local.output).toMatch(/^Usage: npm run local/);
});
