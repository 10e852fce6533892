/** What the user of a tree may do, and how the operator brings it to every server. */
import { Redis } from 'ioredis';
import { expect, onTestFinished, test } from 'vitest';
import { RedisKeeper } from '#operator/redis-keeper.ts';
import { setTreeUser, treePassword } from '#operator/tree-users.ts';
import { systemClock } from '#sidecar/base/clock.ts';
import { createLog } from '#sidecar/base/log.ts';
import { treeUser } from '#sidecar/engine/acl.ts';
import { createAdminEngine, createSidecarEngine } from '#sidecar/engine/client.ts';
import { connectRedis, type RedisConnection } from '#sidecar/engine/connect.ts';
import { configKey, functionKeys } from '#sidecar/engine/keys.ts';
import { ENGINE_VERSION } from '#sidecar/engine/library.ts';
import { serversOf } from '#sidecar/engine/servers.ts';
import type { TreeKey } from '#sidecar/engine/tree-terms.ts';
import { encodeTree } from '#sidecar/engine/tree.ts';
import { limit, node, request, settlement, treeOf, TREE_KEY } from '#test/support/engine.ts';
import { startCluster } from '#test/support/redis-cluster.ts';
import { eventually, OPERATOR } from '#test/support/redis-stage.ts';
import { ASKER, startSentinels, type Topology } from '#test/support/redis-topologies.ts';
import { startRedis, type TestRedis, type TestRedisOptions } from '#test/support/redis.ts';
import { ManualClock } from '../../unit/runtime/manual-clock.ts';

const KEY = 'the-key-of-all-users';
const OTHER_TREE = 'bcdefghijklmnopqrstuvwxyza';
const THIRD_TREE = 'cdefghijklmnopqrstuvwxyzab';
const CHANNEL = `q:{${TREE_KEY}}:p:pod-1`;
const revision = { leaseCreatedMs: 1, transitions: 0, generation: 1 };
const tree = treeOf([node('account', null, { concurrency: 2, limits: [limit('five-hour', 5)] })]);

async function start(options?: TestRedisOptions): Promise<TestRedis> {
  const server = await startRedis(options);
  onTestFinished(() => server[Symbol.asyncDispose]());
  return server;
}

/** The plain default user over the Unix socket. */
function root(server: TestRedis): Redis {
  const redis = new Redis({ path: server.socketPath });
  onTestFinished(() => redis.disconnect());
  return redis;
}

async function configured(redis: RedisConnection['redis']) {
  const admin = createAdminEngine({ redis });
  await admin.loadLibrary();
  await admin.configure(tree, revision);
  return admin;
}

function open(
  where: { url: string; ca: string | null },
  user: { username: string; password: string },
): RedisConnection {
  const settings = {
    url: where.url,
    ...user,
    caPem: where.ca,
    ...(where.url.includes('sentinel') && { sentinel: ASKER }),
  };
  const connection = connectRedis(settings, { name: 'test', onError: () => undefined });
  onTestFinished(() => connection[Symbol.asyncDispose]());
  return connection;
}

const asTree = (key: TreeKey) => ({ username: treeUser(key), password: treePassword(KEY, key) });

async function connectAsTree(server: TestRedis, key = TREE_KEY): Promise<RedisConnection> {
  const connection = open(server, asTree(key));
  await connection.ready(AbortSignal.timeout(10_000));
  return connection;
}

interface KeeperOptions {
  readonly trees?: Map<TreeKey, string | null>;
  readonly clock?: ManualClock;
}

/** A keeper that runs until the test is over. */
function keep(
  connection: RedisConnection,
  { trees = new Map([[TREE_KEY, null]]), clock }: KeeperOptions = {},
): RedisKeeper {
  const servers = serversOf(connection.redis);
  const log = createLog('silent');
  const keeper = new RedisKeeper({ servers, usersKey: KEY, trees: () => trees, clock: clock ?? systemClock, log });
  const stop = new AbortController();
  const running = keeper.run(stop.signal);
  onTestFinished(async () => {
    stop.abort();
    await running;
    servers[Symbol.dispose]();
  });
  return keeper;
}

/** Ten seconds pass while the keeper rests. */
async function look(clock: ManualClock): Promise<void> {
  await eventually(async () => clock.pending.length > 0, 'the keeper rests');
  await clock.advance(10_000);
}

async function usersAt(redis: Redis): Promise<readonly string[]> {
  return ((await redis.call('ACL', 'USERS')) as string[]).filter((name) => name.startsWith('glmquota')).toSorted();
}

test("F2 a tree's user may do a sidecar's calls over TLS, push and subscribe included", async () => {
  const server = await start({ tls: true });
  await configured(root(server));
  await setTreeUser(root(server), TREE_KEY, KEY);
  const connection = await connectAsTree(server);
  const sidecar = createSidecarEngine({ redis: connection.redis, treeKey: TREE_KEY });
  const grant = await sidecar.acquire(request('1'));
  if (grant.kind !== 'granted') throw new Error(JSON.stringify(grant));
  expect(await sidecar.claim(grant)).toBe(true);
  const beat = { owner: 'pod-1', epoch: grant.epoch, leases: [grant], waiters: [] };
  expect(await sidecar.beat(beat)).toMatchObject({ lost: [] });
  const leases = [{ lease: grant, request: request('1'), sent: true }];
  expect(await sidecar.register({ owner: 'pod-1', leases, disclaimed: ['2'] })).toEqual({ epoch: grant.epoch });
  expect(await sidecar.settle([settlement('1', grant.fence)])).toMatchObject([{ kind: 'settled' }]);
  await sidecar.cancel('3');
  expect(await sidecar.snapshot()).toMatchObject({ leases: 0, revision });
  const heard: string[] = [];
  let stands = false;
  const subscriber = { onMessage: (text: string) => void heard.push(text), onSubscribed: () => void (stands = true) };
  connection.subscribe(CHANNEL, subscriber, new AbortController().signal);
  await eventually(async () => stands, 'the subscription stands');
  await connection.redis.spublish(CHANNEL, 'grant');
  await eventually(async () => heard.length > 0, 'the message comes');
  expect(await connection.redis.call('WAIT', 0, 1)).toBe(0);
});

test("W5 a tree's user may not configure its tree, nor anything on the server", async () => {
  const server = await start();
  const admin = await configured(root(server));
  await setTreeUser(root(server), TREE_KEY, KEY);
  const { redis } = await connectAsTree(server);
  const refused = createAdminEngine({ redis });
  await expect(refused.configure(tree, { ...revision, generation: 2 })).rejects.toMatchObject({ code: 'forbidden' });
  await expect(refused.loadLibrary()).rejects.toMatchObject({ code: 'forbidden' });
  const encoded = encodeTree(tree);
  const newer = [...encoded.account, '9', '0', '1', 'hash', '', '0', '0', '0', ...encoded.body];
  const keys = [...functionKeys(TREE_KEY), configKey(TREE_KEY)];
  const attempts: [string, ...string[]][] = [
    ['FLUSHALL'],
    ['HSET', configKey(TREE_KEY), 't', 'mine'],
    ['DEL', configKey(TREE_KEY)],
    ['FCALL', `${ENGINE_VERSION}_configure`, String(keys.length), ...keys, ...newer],
    ['FCALL', `${ENGINE_VERSION}_govern`, String(keys.length), ...keys, 'freeze', 'account', '0'],
    // A caller of its own may leave out the key that it may not write.
    ['FCALL', `${ENGINE_VERSION}_configure`, String(keys.length - 1), ...keys.slice(0, -1), ...newer],
    ['FCALL', `${ENGINE_VERSION}_govern`, String(keys.length - 1), ...keys.slice(0, -1), 'freeze', 'account', '0'],
    ['GET', 'another key'],
    ['KEYS', '*'],
    ['EVAL', 'return 1', '0'],
    ['CONFIG', 'GET', '*'],
    ['ACL', 'LIST'],
    ['CLIENT', 'LIST'],
    ['SUBSCRIBE', 'x'],
  ];
  for (const attempt of attempts) await expect(redis.call(...attempt)).rejects.toThrow(/NOPERM|can't (run|access)/);
  expect(await redis.hexists(configKey(TREE_KEY), 't')).toBe(1);
  expect(await admin.snapshot(TREE_KEY)).toMatchObject({ revision });
});

test("W5 a tree's user reaches neither keys nor channels of another tree", async () => {
  const server = await start();
  await configured(root(server));
  await setTreeUser(root(server), TREE_KEY, KEY);
  const { redis } = await connectAsTree(server);
  const foreign = createSidecarEngine({ redis, treeKey: OTHER_TREE });
  await expect(foreign.acquire(request('1'))).rejects.toMatchObject({ code: 'forbidden' });
  await expect(redis.hget(configKey(OTHER_TREE), 't')).rejects.toThrow(/NOPERM/);
  await expect(redis.ssubscribe(`q:{${OTHER_TREE}}:p:pod-1`)).rejects.toThrow(/NOPERM/);
  await expect(redis.spublish(`q:{${OTHER_TREE}}:p:pod-1`, 'x')).rejects.toThrow(/NOPERM/);
});

test('on a server without functions the user of a tree may run scripts, with the same rights', async () => {
  const server = await start({ config: ['FUNCTION', 'FCALL', 'FCALL_RO'].map((name) => `rename-command ${name} ""`) });
  await configured(root(server));
  await setTreeUser(root(server), TREE_KEY, KEY);
  const { redis } = await connectAsTree(server);
  const sidecar = createSidecarEngine({ redis, treeKey: TREE_KEY });
  expect(await sidecar.acquire(request('1'))).toMatchObject({ kind: 'granted' });
  const configure = createAdminEngine({ redis }).configure(tree, { ...revision, generation: 2 });
  await expect(configure).rejects.toMatchObject({ code: 'forbidden' });
});

test('passwords of trees differ, and the same key gives the same ones again', () => {
  expect(treePassword(KEY, TREE_KEY)).toBe(treePassword(KEY, TREE_KEY));
  expect(new Set([treePassword(KEY, TREE_KEY), treePassword(KEY, OTHER_TREE), treePassword('x', TREE_KEY)]).size).toBe(
    3,
  );
});

test('a user that is taken away or changed is written again within ten seconds, others are left alone', async () => {
  const server = await start();
  const admin = root(server);
  const clock = new ManualClock();
  keep(open(server, { username: 'default', password: '' }), { clock });
  await eventually(async () => (await usersAt(admin)).length === 1, 'the user is written');
  const right = await admin.call('ACL', 'LIST');
  await admin.call('ACL', 'SETUSER', 'somebody', 'on', 'nopass');
  await admin.call('ACL', 'SETUSER', treeUser(TREE_KEY), '~*', '+@all');
  await look(clock);
  const others = (line: string): boolean => !line.startsWith('user somebody ');
  await eventually(async () => {
    const lines = (await admin.call('ACL', 'LIST')) as string[];
    return JSON.stringify(lines.filter(others)) === JSON.stringify(right);
  }, 'the user is as it was');
  expect(await admin.call('ACL', 'GETUSER', 'somebody')).not.toBeNull();
  await admin.call('ACL', 'DELUSER', treeUser(TREE_KEY));
  await look(clock);
  await eventually(async () => (await usersAt(admin)).length === 1, 'the user is back');
});

test('a new tree has its user at once, one that is gone for a minute has none', async () => {
  const server = await start();
  const admin = root(server);
  const clock = new ManualClock();
  const trees = new Map<TreeKey, string | null>([[TREE_KEY, null]]);
  const keeper = keep(open(server, { username: 'default', password: '' }), { clock, trees });
  await eventually(async () => (await usersAt(admin)).length === 1, 'the first user is written');
  trees.set(OTHER_TREE, null);
  keeper.touch();
  await eventually(async () => (await usersAt(admin)).length === 2, 'the second user is written');
  trees.delete(TREE_KEY);
  keeper.touch();
  trees.set(THIRD_TREE, null);
  keeper.touch();
  await eventually(async () => (await usersAt(admin)).length === 3, 'the third user is written, the first one kept');
  for (let i = 0; i < 6; i++) await look(clock);
  await eventually(async () => (await usersAt(admin)).length === 2, 'the first user is gone');
  expect(await usersAt(admin)).toEqual([OTHER_TREE, THIRD_TREE].map(treeUser));
});

test('a Redis that restarts without its users and library has both again as soon as it answers', async () => {
  const server = await start();
  const connection = open(server, { username: 'default', password: '' });
  keep(connection, { clock: new ManualClock() });
  await eventually(async () => (await usersAt(root(server))).length === 1, 'the user is written');
  await server.kill();
  await server.restart();
  await eventually(async () => (await usersAt(root(server))).length === 1, 'the user is written again');
  expect(await root(server).call('FUNCTION', 'LIST')).toHaveLength(1);
});

test.each<[string, () => Promise<Topology>]>([
  ['master and replicas', () => startSentinels({ tls: true, acl: true, replicas: 2 })],
  ['masters of a cluster', () => startCluster({ tls: true, acl: true })],
])('F2 all %s have the users, over TLS and without being asked twice', async (_, startTopology) => {
  await using topology = await startTopology();
  const connection = open(topology, OPERATOR);
  await connection.ready(AbortSignal.timeout(10_000));
  keep(connection);
  const admins = topology.servers.map((server) => topology.admin(server));
  await eventually(async () => {
    const users = await Promise.all(admins.map(usersAt));
    return users.every((names) => names.length === 1);
  }, 'every server has the user');
  await eventually(async () => {
    const libraries = await Promise.all(admins.map((each) => each.call('FUNCTION', 'LIST') as Promise<unknown[]>));
    return libraries.every((names) => names.length === 1);
  }, 'every server has the library');
  const before = String(await admins[0]?.info('commandstats')).match(/cmdstat_acl\|setuser:calls=(\d+)/)?.[1];
  expect(before).toBe('1');
});
