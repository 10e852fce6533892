/** The two forms of the engine and which of them a connection uses; the project `scripts` runs all suites in the other one. */
import { Redis } from 'ioredis';
import { expect, onTestFinished, test } from 'vitest';
import type { CallerOptions } from '#sidecar/engine/caller.ts';
import { createAdminEngine, createSidecarEngine } from '#sidecar/engine/client.ts';
import { assembleScript, ensureLibrary, loadLibrary, PRODUCTION } from '#sidecar/engine/library.ts';
import { limit, node, request, settlement, treeOf, TREE_KEY } from '#test/support/engine.ts';
import { startRedis, type TestRedis, type TestRedisOptions } from '#test/support/redis.ts';

const tree = treeOf([node('account', null, { concurrency: 2, limits: [limit('five-hour', 5)] })]);
const WITHOUT_FUNCTIONS = { config: ['FUNCTION', 'FCALL', 'FCALL_RO'].map((name) => `rename-command ${name} ""`) };

async function start(options?: TestRedisOptions): Promise<TestRedis> {
  const server = await startRedis(options);
  onTestFinished(() => server[Symbol.asyncDispose]());
  return server;
}

function open(server: TestRedis, user: { username?: string; password?: string } = {}): Redis {
  const redis = new Redis({ path: server.socketPath, ...user });
  onTestFinished(() => redis.disconnect());
  return redis;
}

async function configured(redis: Redis, options: CallerOptions = {}) {
  const admin = createAdminEngine({ redis, ...options });
  await admin.loadLibrary();
  await admin.configure(tree, { leaseCreatedMs: 1, transitions: 0, generation: 1 });
  return { admin, sidecar: createSidecarEngine({ redis, treeKey: TREE_KEY, ...options }) };
}

async function callsOf(redis: Redis, command: string): Promise<number> {
  const stats = await redis.info('commandstats');
  return Number(new RegExp(`cmdstat_${command}:calls=(\\d+)`).exec(stats)?.[1] ?? 0);
}

async function librariesOf(redis: Redis): Promise<readonly string[]> {
  return ((await redis.call('FUNCTION', 'LIST')) as unknown[][]).map((each) => String(each[1])).toSorted();
}

test('a server with functions is never sent a script', async () => {
  const redis = open(await start());
  const { sidecar } = await configured(redis);
  expect(await sidecar.acquire(request('1'))).toMatchObject({ kind: 'granted' });
  expect(await callsOf(redis, 'fcall')).toBe(2);
  expect((await callsOf(redis, 'evalsha')) + (await callsOf(redis, 'eval'))).toBe(0);
});

test('on a server without functions the whole engine goes by scripts, sent once', async () => {
  const redis = open(await start(WITHOUT_FUNCTIONS));
  const { admin, sidecar } = await configured(redis);
  for (const id of ['1', '2']) expect(await sidecar.acquire(request(id))).toMatchObject({ kind: 'granted' });
  expect(await sidecar.snapshot()).toMatchObject({ leases: 2 });
  expect((await admin.audit(TREE_KEY)).drifts).toEqual([]);
  // `loadLibrary` brought all of them.
  expect((await callsOf(redis, 'eval')) + (await callsOf(redis, 'eval_ro'))).toBe(0);
  expect(await callsOf(redis, 'evalsha_ro')).toBe(2);
});

test('a script that the server forgot is sent again within the same call', async () => {
  const redis = open(await start());
  const { sidecar } = await configured(redis, { form: 'scripts' });
  await redis.call('SCRIPT', 'FLUSH');
  const grant = await sidecar.acquire(request('1'));
  expect(grant).toMatchObject({ kind: 'granted' });
  await redis.call('SCRIPT', 'FLUSH');
  expect(await sidecar.snapshot()).toMatchObject({ leases: 1 });
  const { sha } = assembleScript('snapshot');
  expect(await redis.call('SCRIPT', 'EXISTS', sha)).toEqual([1]);
});

test('a user who may call only scripts gets there without being told', async () => {
  const server = await start();
  await configured(open(server));
  const rules = ['on', '>secret', '~*', '&*', '-@all', '+@connection', '+info', '+@hash', '+@sortedset', '+time'];
  await open(server).call('ACL', 'SETUSER', 'sidecar', ...rules, '+evalsha', '+evalsha_ro', '+eval', '+eval_ro');
  const redis = open(server, { username: 'sidecar', password: 'secret' });
  const sidecar = createSidecarEngine({ redis, treeKey: TREE_KEY });
  expect(await sidecar.acquire(request('1'))).toMatchObject({ kind: 'granted' });
});

test('a user who may call neither functions nor scripts is told so', async () => {
  const server = await start();
  await configured(open(server));
  await open(server).call('ACL', 'SETUSER', 'nobody', 'on', '>secret', '~*', '-@all', '+@connection', '+info');
  const redis = open(server, { username: 'nobody', password: 'secret' });
  const sidecar = createSidecarEngine({ redis, treeKey: TREE_KEY });
  await expect(sidecar.acquire(request('1'))).rejects.toMatchObject({ code: 'forbidden' });
});

test('F1 in the form of scripts, too, a full memory refuses grants only', async () => {
  const redis = open(await start());
  const { sidecar } = await configured(redis, { form: 'scripts' });
  const grant = await sidecar.acquire(request('1'));
  if (grant.kind !== 'granted') throw new Error(JSON.stringify(grant));
  await redis.config('SET', 'maxmemory', '1');
  await expect(sidecar.acquire(request('2'))).rejects.toMatchObject({ code: 'unavailable' });
  expect(await sidecar.claim(grant)).toBe(true);
  expect(await sidecar.settle([settlement('1', grant.fence)])).toMatchObject([{ kind: 'settled' }]);
  expect(await sidecar.snapshot()).toMatchObject({ leases: 0 });
});

test('both forms work on the same records', async () => {
  const redis = open(await start());
  const { sidecar } = await configured(redis, { form: 'functions' });
  const grant = await sidecar.acquire(request('1'));
  if (grant.kind !== 'granted') throw new Error(JSON.stringify(grant));
  const other = createSidecarEngine({ redis, treeKey: TREE_KEY, form: 'scripts' });
  expect(await other.acquire(request('1'))).toMatchObject({ kind: 'granted', fence: grant.fence });
  expect(await other.settle([settlement('1', grant.fence)])).toMatchObject([{ kind: 'settled' }]);
});

test('loading keeps two older versions and all newer ones, and leaves foreign libraries alone', async () => {
  const redis = open(await start());
  const others = [
    'glmquota_q1',
    'glmquota_q2',
    'glmquota_q3',
    'glmquota_q4',
    'glmquota_q6',
    'glmquota_q2test',
    'other',
  ];
  for (const name of others) {
    const text = `#!lua name=${name}\nredis.register_function('${name}_f', function() return 1 end)`;
    await redis.call('FUNCTION', 'LOAD', text);
  }
  const variant = { ...PRODUCTION, version: 'q5' };
  await loadLibrary(redis, variant);
  await loadLibrary(redis, variant);
  const kept = ['glmquota_q2test', 'glmquota_q3', 'glmquota_q4', 'glmquota_q5', 'glmquota_q6', 'other'];
  expect(await librariesOf(redis)).toEqual(kept);
});

test('a library that is there is left as it is, one that was taken away is loaded again', async () => {
  const redis = open(await start());
  await ensureLibrary(redis);
  const { sidecar } = await configured(redis);
  const loads = await callsOf(redis, 'function\\|load');
  await ensureLibrary(redis);
  expect(await callsOf(redis, 'function\\|load')).toBe(loads);
  await redis.call('FUNCTION', 'FLUSH');
  await ensureLibrary(redis);
  expect(await sidecar.acquire(request('1'))).toMatchObject({ kind: 'granted' });
  await ensureLibrary(open(await start(WITHOUT_FUNCTIONS)));
});
