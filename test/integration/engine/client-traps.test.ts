/** What the Redis client does by itself that would hurt here, and does not: one test each. */
import { Cluster, Redis } from 'ioredis';
import { expect, onTestFinished, test } from 'vitest';
import type { AppError } from '#sidecar/base/errors.ts';
import { createAdminEngine, createSidecarEngine } from '#sidecar/engine/client.ts';
import { connectRedis, type RedisConnection } from '#sidecar/engine/connect.ts';
import { untilEvent } from '#sidecar/engine/topology.ts';
import { node, request, treeOf, TREE_KEY } from '#test/support/engine.ts';
import { startCluster } from '#test/support/redis-cluster.ts';
import { eventually } from '#test/support/redis-stage.ts';
import { startReplicated, startSentinels } from '#test/support/redis-topologies.ts';
import { startRedis, type TestRedis, type TestRedisOptions } from '#test/support/redis.ts';

const CHANNEL = `q:{${TREE_KEY}}:p:pod-1`;
const tree = treeOf([node('account', null)]);
const within = (ms = 20_000) => AbortSignal.timeout(ms);

async function start(options?: TestRedisOptions): Promise<TestRedis> {
  const server = await startRedis(options);
  onTestFinished(() => server[Symbol.asyncDispose]());
  return server;
}

interface Opened extends RedisConnection {
  readonly errors: AppError[];
}

async function open(url: string, name = 'test'): Promise<Opened> {
  const errors: AppError[] = [];
  const settings = { url, username: null, password: null, caPem: null };
  const connection = connectRedis(settings, { name, onError: (error) => errors.push(error) });
  onTestFinished(() => connection[Symbol.asyncDispose]());
  await connection.ready(within());
  return Object.assign(connection, { errors });
}

async function configured(redis: RedisConnection['redis']) {
  const admin = createAdminEngine({ redis });
  await admin.loadLibrary();
  await admin.configure(tree, { leaseCreatedMs: 1, transitions: 0, generation: 1 });
  return createSidecarEngine({ redis, treeKey: TREE_KEY });
}

/** Counts what a subscription is told. */
function listen(connection: RedisConnection, signal: AbortSignal = new AbortController().signal) {
  const heard = { texts: [] as string[], stands: 0 };
  const subscriber = {
    onMessage: (text: string) => void heard.texts.push(text),
    onSubscribed: () => void (heard.stands += 1),
  };
  connection.subscribe(CHANNEL, subscriber, signal);
  return heard;
}

const rootOf = (server: TestRedis): Redis => {
  const redis = new Redis({ path: server.socketPath });
  onTestFinished(() => redis.disconnect());
  return redis;
};

test('one connection carries calls and a subscription at once', async () => {
  const server = await start();
  const connection = await open(server.url, 'only-one');
  const sidecar = await configured(connection.redis);
  const heard = listen(connection);
  await eventually(async () => heard.stands === 1, 'the subscription stands');
  await rootOf(server).spublish(CHANNEL, 'grant');
  expect(await sidecar.acquire(request('1'))).toMatchObject({ kind: 'granted' });
  await eventually(async () => heard.texts.length > 0, 'the message comes');
  expect(heard.texts).toEqual(['grant']);
  const clients = String(await rootOf(server).client('LIST')).split('\n');
  expect(clients.filter((each) => each.includes('name=only-one')).map((each) => /resp=\d/.exec(each)?.[0])).toEqual([
    'resp=3',
  ]);
});

test('without RESP3 nothing is subscribed, rather than lose the connection to a subscription', async () => {
  const server = await start({ config: ['rename-command HELLO ""'] });
  const connection = await open(server.url);
  const sidecar = await configured(connection.redis);
  const heard = listen(connection);
  await eventually(async () => connection.errors.length > 0, 'it is told why');
  expect(await sidecar.acquire(request('1'))).toMatchObject({ kind: 'granted' });
  expect(heard.stands).toBe(0);
});

test('a subscription stands again after the connection broke, and says so', async () => {
  const server = await start();
  const connection = await open(server.url, 'breaks');
  const heard = listen(connection);
  await eventually(async () => heard.stands === 1, 'the subscription stands');
  await rootOf(server).call('CLIENT', 'KILL', 'TYPE', 'pubsub');
  await eventually(async () => heard.stands === 2, 'the subscription stands again');
  await rootOf(server).spublish(CHANNEL, 'grant');
  await eventually(async () => heard.texts.length > 0, 'the message comes');
  expect(heard).toEqual({ texts: ['grant'], stands: 2 });
});

test('a subscription that is refused is tried again until it is allowed, and breaks nothing', async () => {
  const server = await start({ users: { pod: 'on nopass ~* resetchannels +@all' } });
  const settings = { url: server.url, username: 'pod', password: 'x', caPem: null };
  const errors: AppError[] = [];
  const connection = connectRedis(settings, { name: 'test', onError: (error) => errors.push(error) });
  onTestFinished(() => connection[Symbol.asyncDispose]());
  await connection.ready(within());
  const heard = listen(connection);
  await eventually(async () => errors.some(({ code }) => code === 'forbidden'), 'it is refused');
  expect(heard.stands).toBe(0);
  await rootOf(server).call('ACL', 'SETUSER', 'pod', '&*');
  await eventually(async () => heard.stands === 1, 'the subscription stands');
  // Redis closes the connection of a user who may not hear any more what it listens to.
  errors.length = 0;
  await rootOf(server).call('ACL', 'SETUSER', 'pod', 'resetchannels');
  await eventually(async () => errors.some(({ code }) => code === 'forbidden'), 'it is refused again');
  await rootOf(server).call('ACL', 'SETUSER', 'pod', '&*');
  await eventually(async () => heard.stands === 2, 'the subscription stands again');
});

test('an aborted subscription is given up at the server', async () => {
  const server = await start();
  const connection = await open(server.url);
  const over = new AbortController();
  const heard = listen(connection, over.signal);
  await eventually(async () => heard.stands === 1, 'the subscription stands');
  over.abort();
  const root = rootOf(server);
  const channels = async (): Promise<unknown> => root.call('PUBSUB', 'SHARDCHANNELS');
  await eventually(async () => ((await channels()) as string[]).length === 0, 'it is given up');
  expect(await connection.redis.ping()).toBe('PONG');
});

test('in a cluster a subscription hears what is published where the slot lives, on the connection of the calls', async () => {
  await using cluster = await startCluster();
  const connection = await open(cluster.url, 'in-cluster');
  await configured(connection.redis);
  const heard = listen(connection);
  await eventually(async () => heard.stands === 1, 'the subscription stands');
  const owner = cluster.admin(await cluster.ownerOf(CHANNEL));
  await owner.spublish(CHANNEL, 'grant');
  await eventually(async () => heard.texts.length === 1, 'the message comes');
  const clients = String(await owner.client('LIST')).split('\n');
  expect(clients.filter((each) => each.includes('name=in-cluster'))).toHaveLength(1);
});

test('a subscription follows its slot to another server', async () => {
  await using cluster = await startCluster();
  const connection = await open(cluster.url);
  const heard = listen(connection);
  await eventually(async () => heard.stands === 1, 'the subscription stands');
  const source = await cluster.ownerOf(CHANNEL);
  const target = cluster.servers.find((each) => each !== source)!;
  const migration = await cluster.migrate(CHANNEL, target);
  await migration.moveKeys();
  await migration.finish();
  await eventually(async () => heard.stands === 2, 'the subscription stands at the new owner');
  await cluster.admin(target).spublish(CHANNEL, 'grant');
  await eventually(async () => heard.texts.length > 0, 'the message comes');
  expect(heard).toEqual({ texts: ['grant'], stands: 2 });
});

test('a subscription follows a fail-over', async () => {
  await using topology = await startSentinels();
  const connection = await open(topology.url);
  const heard = listen(connection);
  await eventually(async () => heard.stands === 1, 'the subscription stands');
  const before = await topology.master();
  await before.kill();
  await eventually(async () => heard.stands === 2, 'the subscription stands at the new master');
  const after = await topology.master();
  expect(after).not.toBe(before);
  await topology.admin(after).spublish(CHANNEL, 'grant');
  await eventually(async () => heard.texts.length === 1, 'the message comes');
});

test('while there is no connection a call fails at once instead of waiting for one', async () => {
  const server = await start();
  const connection = await open(server.url);
  const sidecar = await configured(connection.redis);
  const order: string[] = [];
  const gone = untilEvent(connection.redis, 'reconnecting', within());
  await server.kill();
  await gone;
  connection.redis.once('connecting', () => order.push('connecting'));
  const connecting = untilEvent(connection.redis, 'connecting', within());
  await expect(sidecar.acquire(request('1'))).rejects.toMatchObject({ code: 'unavailable', transient: true });
  order.push('failed');
  await connecting;
  expect(order).toEqual(['failed', 'connecting']);
});

test('T3 a call that is under way when the server dies fails within the command timeout', async () => {
  const server = await start();
  const connection = await open(server.url);
  const sidecar = await configured(connection.redis);
  server.pause();
  const pending = sidecar.acquire(request('1')).catch((error: unknown) => error);
  await server.kill();
  expect(await pending).toMatchObject({ code: 'unavailable', transient: true });
});

test('calls are not batched behind our back', async () => {
  await using cluster = await startCluster();
  const server = await start();
  for (const { redis } of [await open(server.url), await open(cluster.url)]) {
    expect(redis.options.enableAutoPipelining).toBe(false);
    expect(redis instanceof Cluster ? redis.options.redisOptions?.enableAutoPipelining : false).toBe(false);
  }
});

test('a server that has become a replica is left for whoever the name leads to now', async () => {
  await using topology = await startReplicated();
  const connection = await open(topology.url);
  const sidecar = await configured(connection.redis);
  await topology.caughtUp();
  const { master, replica, front } = topology;
  const [old, next] = [topology.admin(master), topology.admin(replica)];
  await next.call('REPLICAOF', 'NO', 'ONE');
  await old.call('REPLICAOF', '127.0.0.1', replica.port);
  front.leadTo(replica.port);
  await expect(sidecar.acquire(request('1'))).rejects.toMatchObject({ code: 'unavailable', transient: true });
  await eventually(async () => (await sidecar.acquire(request('1'))).kind !== 'stale', 'the new master answers');
});

test('a fresh connection may be asked for at any moment of connecting', async () => {
  await using topology = await startSentinels();
  const connection = await open(topology.url);
  await configured(connection.redis);
  for (let i = 0; i < 8; i++) {
    const once = connection.reconnect(within());
    for (let turn = 0; turn < i; turn++) await new Promise(setImmediate);
    await Promise.all([once, connection.reconnect(within())]);
  }
  const [sentinel] = topology.sentinels;
  sentinel?.pause();
  await connection.reconnect(within());
  sentinel?.resume();
  expect(await connection.redis.ping()).toBe('PONG');
});

test('a client that gave up begins anew', async () => {
  await using topology = await startSentinels();
  const connection = await open(topology.url);
  const { redis } = connection;
  // Cut off while it looks for the master it would never come back by itself.
  redis.once('connecting', () => redis.disconnect(true));
  const end = untilEvent(redis, 'end', within());
  redis.disconnect(true);
  await end;
  await connection.ready(within());
  expect(await redis.ping()).toBe('PONG');
});

test('T3 a server that stands still does not hold up a fresh connection', async () => {
  const server = await start();
  const connection = await open(server.url);
  server.pause();
  const fresh = connection.reconnect(within());
  await eventually(async () => connection.redis.status !== 'ready', 'the old connection is given up');
  server.resume();
  await fresh;
  expect(await connection.redis.ping()).toBe('PONG');
});

test('engines that share a connection leave one listener on it, and close the connections they opened beside it', async () => {
  const warnings: Error[] = [];
  const note = (warning: Error): void => void warnings.push(warning);
  process.on('warning', note);
  onTestFinished(() => void process.off('warning', note));
  const server = await start();
  const { redis } = await open(server.url);
  await configured(redis);
  const watcher = new Redis({ path: server.socketPath });
  onTestFinished(() => watcher.disconnect());
  const connections = async (): Promise<number> =>
    String(await watcher.call('CLIENT', 'LIST', 'TYPE', 'normal'))
      .trim()
      .split('\n').length;
  const before = await connections();
  const engines = Array.from({ length: 12 }, () => createSidecarEngine({ redis, treeKey: TREE_KEY }));
  const lease = { id: 'none', fence: 1, epoch: 1 };
  // There is no replica that could confirm, but each engine has asked on a connection of its own.
  const asked = await Promise.allSettled(engines.map((engine) => engine.claim(lease, { confirm: true })));
  expect(asked.map(({ status }) => status)).toEqual(engines.map(() => 'rejected'));
  expect(await connections()).toBe(before + 12);
  expect(warnings).toEqual([]);
  redis.disconnect();
  await eventually(async () => (await connections()) === before - 1, 'all connections are closed');
});
