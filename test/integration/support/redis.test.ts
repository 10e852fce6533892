import { Redis, type RedisOptions } from 'ioredis';
import { expect, onTestFinished, test } from 'vitest';
import { startRedis, type TestRedis, type TestRedisOptions } from '#test/support/redis.ts';

async function start(options?: TestRedisOptions): Promise<TestRedis> {
  const server = await startRedis(options);
  onTestFinished(() => server[Symbol.asyncDispose]());
  return server;
}

function open({ port }: TestRedis, options: Omit<RedisOptions, 'replyMapping'> = {}): Redis {
  const redis = new Redis({ host: '127.0.0.1', port, maxRetriesPerRequest: 0, retryStrategy: () => null, ...options });
  redis.on('error', () => undefined);
  onTestFinished(() => redis.disconnect());
  return redis;
}

test('a durable server brings its data back after SIGKILL, on the same port', async () => {
  const server = await start({ durable: true });
  await open(server).set('k', 'v');
  await server.kill();
  await expect(open(server).get('k')).rejects.toThrow(/closed|ECONNREFUSED|retries/);
  await server.restart();
  expect(await open(server).get('k')).toBe('v');
});

test('a TLS server is trusted by its own CA and by no other', async () => {
  const server = await start({ tls: true });
  expect(await open(server, { tls: { ca: server.ca ?? '' } }).ping()).toBe('PONG');
  await expect(open(server).ping()).rejects.toThrow(/certificate|closed|retries/);
});

test('users get the rights their rules give', async () => {
  const server = await start({ users: { reader: 'on >secret ~a* +get' } });
  const reader = open(server, { username: 'reader', password: 'secret', enableReadyCheck: false });
  expect(await reader.get('a1')).toBeNull();
  await expect(reader.get('b1')).rejects.toThrow(/NOPERM/);
});

test('a paused server answers nothing until it is resumed', async () => {
  const server = await start();
  const redis = open(server);
  await redis.ping();
  server.pause();
  const pong = redis.ping();
  const silent = Promise.race([pong, new Promise((resolve) => setTimeout(resolve, 200, 'silent'))]);
  expect(await silent).toBe('silent');
  server.resume();
  expect(await pong).toBe('PONG');
});
