import { execFile } from 'node:child_process';
import { readdir, stat } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, test } from 'vitest';
import { startSimulator } from '#test/support/glm-simulator/simulator.ts';
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

  test('a sidecar that dies ends it with 1 and a word on why', async () => {
    await using local = await Local.start(yaml);
    const { stdout } = await promisify(execFile)('pgrep', ['-P', String(local.process.pid), '-f', 'sidecar/main.ts']);
    process.kill(Number(stdout.trim()), 'SIGKILL');
    expect(await local.exit()).toBe(1);
    expect(local.error).toContain('the sidecar was ended by SIGKILL');
    expect(await answers(local.redisUrl)).toBe(false);
  });

  test('the Redis of somebody else is left alone', async () => {
    await using redis = await startRedis();
    await using local = await Local.start(yaml, ['--redis', redis.url]);
    local.process.kill('SIGTERM');
    expect(await local.exit()).toBe(0);
    expect(await answers(redis.url)).toBe(true);
  });
});

test('a Redis that lost its memory gets the limits back', async () => {
  await using redis = await startRedis();
  await using simulator = await startSimulator({ config: { accounts: [{ id: 'a', keys: [KEY] }] } });
  await using local = await Local.start(quotaFile({ origin: simulator.url }), ['--redis', redis.url]);
  const call = async (): Promise<number> => {
    const body = JSON.stringify({ model: 'glm-5.3', messages: [{ role: 'user', content: 'hello' }] });
    const answer = await fetch(`${local.variable('OPENAI_BASE_URL')}/chat/completions`, { method: 'POST', body });
    await answer.text();
    return answer.status;
  };
  expect(await call()).toBe(200);
  await redis.kill();
  await redis.restart();
  await eventually(async () => (await call()) === 200, 'calls to be granted again');
  expect(local.error).toContain('Redis had lost its memory');
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
