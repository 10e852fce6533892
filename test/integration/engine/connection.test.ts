import { Redis } from 'ioredis';
import { expect, onTestFinished, test } from 'vitest';
import { AppError } from '#sidecar/base/errors.ts';
import { createAdminEngine, createSidecarEngine } from '#sidecar/engine/client.ts';
import { connectRedis, type RedisConnection, type RedisSettings } from '#sidecar/engine/connect.ts';
import { configKey, functionKeys, sidecarAcl } from '#sidecar/engine/keys.ts';
import { encodeTree } from '#sidecar/engine/tree.ts';
import { node, limit, request, settlement, treeOf, TREE_KEY } from '#test/support/engine.ts';
import { startRedis, type TestRedis, type TestRedisOptions } from '#test/support/redis.ts';

const OTHER_TREE = 'bcdefghijklmnopqrstuvwxyza';
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

test("a sidecar's user may do a sidecar's calls over TLS, and nothing else", async () => {
  const server = await start({ tls: true });
  const admin = await configured(server);
  await root(server).call('ACL', 'SETUSER', 'sidecar', 'reset', 'on', '>secret', ...sidecarAcl());
  const { redis } = await connect(server, { username: 'sidecar', password: 'secret' });
  const sidecar = createSidecarEngine({ redis, treeKey: TREE_KEY });

  const grant = await sidecar.acquire(request('1'));
  if (grant.kind !== 'granted') throw new Error(JSON.stringify(grant));
  expect(await sidecar.claim(grant)).toBe(true);
  expect(await sidecar.beat({ owner: 'pod-1', epoch: grant.epoch, leases: [grant] })).toMatchObject({ lost: [] });
  const registration = {
    owner: 'pod-1',
    leases: [{ lease: grant, request: request('1'), sent: true }],
    disclaimed: ['2'],
  };
  expect(await sidecar.register(registration)).toEqual({ epoch: grant.epoch });
  expect(await sidecar.settle([settlement('1', grant.fence)])).toMatchObject([{ kind: 'settled' }]);
  await sidecar.cancel('3');
  expect(await sidecar.snapshot()).toMatchObject({ leases: 0, revision });

  const refused = createAdminEngine({ redis });
  await expect(refused.configure(tree, { ...revision, generation: 2 })).rejects.toMatchObject({ code: 'forbidden' });
  await expect(refused.loadLibrary()).rejects.toMatchObject({ code: 'forbidden' });
  const encoded = encodeTree(tree);
  const newer = [...encoded.account, '9', '0', '1', 'hash', '', ...encoded.body];
  const attempts: [string, ...string[]][] = [
    ['FLUSHALL'],
    ['HSET', configKey(TREE_KEY), 't', 'mine'],
    ['DEL', configKey(TREE_KEY)],
    ['FCALL', 'q1_configure', '7', ...functionKeys(TREE_KEY), ...newer],
    ['GET', 'another key'],
    ['KEYS', '*'],
    ['EVAL', 'return 1', '0'],
    ['CONFIG', 'GET', '*'],
    ['ACL', 'LIST'],
    ['SUBSCRIBE', 'x'],
  ];
  for (const attempt of attempts) await expect(redis.call(...attempt)).rejects.toThrow(/NOPERM|can't (run|access)/);
  expect(await redis.hexists(configKey(TREE_KEY), 't').catch(() => 'refused')).toBe('refused');
  expect(await admin.snapshot(TREE_KEY)).toMatchObject({ revision });
});

test("a sidecar's user may be bound to its own trees", async () => {
  const server = await start();
  await configured(server);
  await root(server).call('ACL', 'SETUSER', 'sidecar', 'reset', 'on', '>secret', ...sidecarAcl([TREE_KEY]));
  const { redis } = await connect(server, { username: 'sidecar', password: 'secret' });
  expect(await createSidecarEngine({ redis, treeKey: TREE_KEY }).acquire(request('1'))).toMatchObject({
    kind: 'granted',
  });
  const foreign = createSidecarEngine({ redis, treeKey: OTHER_TREE });
  await expect(foreign.acquire(request('1'))).rejects.toMatchObject({ code: 'forbidden' });
});

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
  expect(await sidecar.beat({ owner: 'pod-1', epoch: null, leases: [first!, second!] })).toMatchObject({ lost: [] });
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
  ['rediss://user:secret@redis.example:6379', /credentials/],
  ['http://127.0.0.1', /rediss:/],
  ['rediss://redis.example:6379/x', /database/],
])('the Redis URL %s is refused', (url, message) => {
  const settings = { url, username: null, password: null, caPem: null };
  const open = () => connectRedis(settings, { name: 'test', onError: () => undefined });
  expect(open).toThrow(message);
  expect(open).toThrow(AppError);
});
