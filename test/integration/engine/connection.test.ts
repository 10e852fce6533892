import { Redis } from 'ioredis';
import { expect, onTestFinished, test } from 'vitest';
import { AppError } from '#sidecar/base/errors.ts';
import { createAdminEngine, createSidecarEngine } from '#sidecar/engine/client.ts';
import { connectRedis, type RedisConnection, type RedisSettings } from '#sidecar/engine/connect.ts';
import { parseRedisUrl } from '#sidecar/engine/redis-url.ts';
import { node, limit, request, settlement, treeOf, TREE_KEY } from '#test/support/engine.ts';
import { startRedis, type TestRedis, type TestRedisOptions } from '#test/support/redis.ts';

const revision = { leaseCreatedMs: 1, transitions: 0, generation: 1 };
const tree = treeOf([node('account', null, { concurrency: 2, limits: [limit('five-hour', 5)] })]);

async function start(options?: TestRedisOptions): Promise<TestRedis> {
  const server = await startRedis(options);
  onTestFinished(() => server[Symbol.asyncDispose]());
  return server;
}

async function connect(server: TestRedis, settings: Partial<RedisSettings> = {}): Promise<RedisConnection> {
  const given = { url: server.url, username: null, password: null, caPem: server.ca, ...settings };
  const connection = connectRedis(given, { name: 'test', onError: () => undefined });
  onTestFinished(() => connection[Symbol.asyncDispose]());
  await connection.ready(AbortSignal.timeout(10_000));
  return connection;
}

/** The plain default user over the Unix socket. */
function root(server: TestRedis): Redis {
  const redis = new Redis({ path: server.socketPath });
  onTestFinished(() => redis.disconnect());
  return redis;
}

async function configured(server: TestRedis) {
  const admin = createAdminEngine({ redis: root(server) });
  await admin.loadLibrary();
  await admin.configure(tree, revision);
  return admin;
}

test('F1 with memory full nothing is granted, and everything that gives back still works', async () => {
  const server = await start();
  const admin = await configured(server);
  const { redis } = await connect(server);
  const sidecar = createSidecarEngine({ redis, treeKey: TREE_KEY });
  const grants = [await sidecar.acquire(request('1')), await sidecar.acquire(request('2'))];
  const [first, second] = grants.map((grant) => {
    if (grant.kind !== 'granted') throw new Error(JSON.stringify(grant));
    return grant;
  });
  await root(server).config('SET', 'maxmemory', '1');
  await expect(sidecar.acquire(request('3'))).rejects.toMatchObject({ code: 'unavailable', transient: true });
  expect(await sidecar.claim(first!)).toBe(true);
  expect(await sidecar.beat({ owner: 'pod-1', epoch: null, leases: [first!, second!], waiters: [] })).toMatchObject({
    lost: [],
  });
  expect(await sidecar.settle([settlement('1', first!.fence)])).toMatchObject([{ kind: 'settled' }]);
  await sidecar.cancel('2');
  expect(await sidecar.register({ owner: 'pod-1', leases: [], disclaimed: ['4'] })).toMatchObject({
    epoch: first!.epoch,
  });
  expect(await sidecar.snapshot()).toMatchObject({ leases: 0 });
  expect((await admin.audit(TREE_KEY)).drifts).toEqual([]);
});

test('W2 a real restart raises the epoch and keeps what the append-only file has', async () => {
  const server = await start({ durable: true });
  await configured(server);
  const connection = await connect(server);
  const { redis } = connection;
  const sidecar = createSidecarEngine({ redis, treeKey: TREE_KEY });
  const before = await sidecar.acquire(request('1'));
  if (before.kind !== 'granted') throw new Error(JSON.stringify(before));
  await server.kill();
  await expect(sidecar.acquire(request('2'))).rejects.toMatchObject({ code: 'unavailable', transient: true });
  await server.restart();
  await connection.ready(AbortSignal.timeout(20_000));
  const verdict = await sidecar.acquire(request('3', { epoch: before.epoch }));
  expect(verdict).toMatchObject({ kind: 'epoch' });
  const lease = { id: '1', fence: before.fence, epoch: before.epoch };
  await sidecar.register({ owner: 'pod-1', leases: [{ lease, request: request('1'), sent: true }], disclaimed: [] });
  expect(await sidecar.snapshot()).toMatchObject({ leases: 1 });
  expect(await sidecar.settle([settlement('1', before.fence)])).toMatchObject([{ kind: 'settled', late: false }]);
});

test('a Redis that does not answer is unavailable after the command timeout, an abort is a cancellation', async () => {
  const server = await start();
  await configured(server);
  const { redis } = await connect(server);
  const sidecar = createSidecarEngine({ redis, treeKey: TREE_KEY });
  server.pause();
  const aborted = sidecar.acquire(request('1'), AbortSignal.abort());
  await expect(aborted).rejects.toMatchObject({ code: 'cancelled' });
  await expect(sidecar.acquire(request('2'))).rejects.toMatchObject({ code: 'unavailable' });
  server.resume();
});

test('a missing library or tree is unavailable, not an internal error', async () => {
  const server = await start();
  const { redis } = await connect(server);
  const sidecar = createSidecarEngine({ redis, treeKey: TREE_KEY });
  await expect(sidecar.acquire(request('1'))).rejects.toMatchObject({ code: 'unavailable' });
  await createAdminEngine({ redis }).loadLibrary();
  expect(await sidecar.acquire(request('1'))).toEqual({ kind: 'stale', generation: 0 });
  await expect(sidecar.cancel('1')).rejects.toMatchObject({ code: 'unavailable' });
  expect(await sidecar.snapshot()).toBeNull();
});

test.each([
  ['redis://redis.example:6379', /loopback/],
  ['redis+sentinel://127.0.0.1,redis.example/main', /loopback/],
  ['redis+cluster://127.0.0.1:1,redis.example:2', /loopback/],
  ['rediss://user:secret@redis.example:6379', /credentials/],
  ['rediss+sentinel://a:1,user:secret@b:2/main', /credentials/],
  ['http://127.0.0.1', /rediss:/],
  ['rediss://a:1,b:2', /rediss:/],
  ['rediss+cluster://a:1,:2', /rediss:/],
  ['rediss://', /rediss:/],
  ['rediss+raft://a', /rediss:/],
  ['rediss://a:99999', /rediss:/],
  ['rediss://redis.example:6379/x', /database/],
  ['rediss+cluster://a:1/1', /database/],
  ['rediss+sentinel://a:1,b:2', /name of the master/],
])('the Redis URL %s is refused', (url, message) => {
  const settings = { url, username: null, password: null, caPem: null };
  const open = () => connectRedis(settings, { name: 'test', onError: () => undefined });
  expect(open).toThrow(message);
  expect(open).toThrow(AppError);
});

test.each([
  ['rediss://a', { kind: 'single', tls: true, hosts: [{ host: 'a', port: 6379 }], master: '', db: 0 }],
  ['redis://[::1]:1/3', { kind: 'single', tls: false, hosts: [{ host: '::1', port: 1 }], master: '', db: 3 }],
  [
    'rediss+sentinel://a,b:2/my-main',
    {
      kind: 'sentinel',
      tls: true,
      hosts: [
        { host: 'a', port: 26379 },
        { host: 'b', port: 2 },
      ],
      master: 'my-main',
      db: 0,
    },
  ],
  [
    'rediss+cluster://a.b.svc:1,[fd00::1]',
    {
      kind: 'cluster',
      tls: true,
      hosts: [
        { host: 'a.b.svc', port: 1 },
        { host: 'fd00::1', port: 6379 },
      ],
      master: '',
      db: 0,
    },
  ],
])('the Redis URL %s names its hosts', (url, place) => {
  expect(parseRedisUrl(url)).toEqual(place);
});
