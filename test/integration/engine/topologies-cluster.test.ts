/** The engine in a cluster whose slots move. */
import { describe, expect, onTestFinished, test } from 'vitest';
import { createDialect } from '#sidecar/engine/caller.ts';
import { createAdminEngine, createSidecarEngine } from '#sidecar/engine/client.ts';
import { createConfirmer } from '#sidecar/engine/confirm.ts';
import { configKey } from '#sidecar/engine/keys.ts';
import type { SidecarEngine } from '#sidecar/engine/port.ts';
import { identityOf, serversOf } from '#sidecar/engine/servers.ts';
import type { Grant } from '#sidecar/engine/terms.ts';
import type { NodeConfig } from '#sidecar/engine/tree-terms.ts';
import { node, request, settlement, treeOf, TREE_KEY } from '#test/support/engine.ts';
import { type ClusterOptions, startCluster, type TestCluster } from '#test/support/redis-cluster.ts';
import { eventually, OPERATOR } from '#test/support/redis-stage.ts';
import type { Topology } from '#test/support/redis-topologies.ts';
import {
  afterwards,
  configure,
  everyServerHasUser,
  granted,
  keepUsers,
  keys,
  open,
  TREE_USER,
} from './topology-fixture.ts';

/** A key whose slot is the tree's. */
const [KEY] = keys;
const REVISION = { leaseCreatedMs: 1, transitions: 0, generation: 1 };

/** A cluster with a configured tree, and a sidecar's engine as the tree's user. */
async function clusterWithTree(account: Partial<NodeConfig>, options: ClusterOptions = {}) {
  const cluster = await startCluster({ tls: true, acl: true, ...options });
  onTestFinished(() => cluster[Symbol.asyncDispose]());
  const operator = await open(cluster, OPERATOR);
  const admin = await configure(operator, account);
  await keepUsers(operator, cluster);
  const connection = await open(cluster, TREE_USER);
  const sidecar = createSidecarEngine({ redis: connection.redis, treeKey: TREE_KEY });
  return { cluster, admin, connection, sidecar };
}

async function otherThanOwner(cluster: TestCluster) {
  const source = await cluster.ownerOf(KEY);
  const target = cluster.servers.find((each) => each !== source);
  if (!target) throw new Error('a cluster of one');
  return { source, target };
}

const redirects = async (cluster: TestCluster, server: Topology['servers'][number], kind: string): Promise<number> => {
  const admin = cluster.admin(server);
  const stats = await admin.info('errorstats');
  admin.disconnect();
  return Number(new RegExp(`errorstat_${kind}:count=(\\d+)`).exec(stats)?.[1] ?? 0);
};

test('the library is loaded on every master', async () => {
  await using cluster = await startCluster();
  const { redis } = await open(cluster);
  await createAdminEngine({ redis }).loadLibrary();
  for (const server of cluster.servers) expect(await cluster.admin(server).call('FUNCTION', 'LIST')).toHaveLength(1);
});

test("F2 a replica that takes over in a cluster knows the tree's user, its leases and who listens", async () => {
  const { cluster, admin, connection, sidecar } = await clusterWithTree({ concurrency: 2 }, { replicas: true });
  const heard: string[] = [];
  let stands = 0;
  const subscriber = { onMessage: (text: string) => void heard.push(text), onSubscribed: () => void (stands += 1) };
  const channel = KEY.replace(/m$/, 'p:pod-1');
  connection.subscribe(channel, subscriber, new AbortController().signal);
  await eventually(async () => stands === 1, 'the subscription stands');
  const confirmed = createConfirmer(connection.redis, createDialect());
  const first = await granted(sidecar, '1');
  const args = [first.id, String(first.fence)];
  const claim = await confirmed('claim', { keys, args }, { replicas: 1, timeoutMs: 1000 }, undefined);
  expect(claim).toEqual({ reply: 1, isReplicated: true });

  const master = await cluster.ownerOf(KEY);
  await master.kill();
  const told = await afterwards(() => sidecar.acquire(request('2', { epoch: first.epoch })));
  expect(told).toMatchObject({ kind: 'epoch' });
  await settleSurely(sidecar, first);
  expect(await sidecar.snapshot()).toMatchObject({ leases: 0 });
  expect((await admin.audit(TREE_KEY)).drifts).toEqual([]);
  await eventually(async () => stands === 2, 'the subscription stands again');
  await connection.redis.spublish(channel, 'grant');
  await eventually(async () => heard.length > 0, 'the message comes');
});

test('F6 a call that meets a slot half-way between two servers waits until it has arrived', async () => {
  const { cluster, sidecar } = await clusterWithTree({ concurrency: 2 });
  await granted(sidecar, '1');
  const { source, target } = await otherThanOwner(cluster);
  const migration = await cluster.migrate(KEY, target);
  await migration.moveKeys(2);
  const early = granted(sidecar, '2');
  await eventually(async () => (await redirects(cluster, source, 'TRYAGAIN')) > 0, 'the old owner says TRYAGAIN');
  await migration.moveKeys();
  await eventually(async () => (await redirects(cluster, target, 'TRYAGAIN')) > 0, 'the new owner says TRYAGAIN');
  await migration.finish();
  await early;
  expect(await sidecar.snapshot()).toMatchObject({ leases: 2 });
  expect(await sidecar.acquire(request('3'))).toMatchObject({ kind: 'denied' });
});

test('F6 a slot that begins to move stops calls before they begin, never in the middle', async () => {
  const { cluster, admin, sidecar } = await clusterWithTree({ concurrency: 1 });
  const first = await granted(sidecar, '1');
  await sidecar.cancel('2');
  const { source, target } = await otherThanOwner(cluster);
  const there = cluster.admin(source);
  // Every key of the tree exists; the settlement will empty some of them.
  for (const key of keys) if ((await there.exists(key)) === 0) await there.zadd(key, '+inf', 'x');
  const migration = await cluster.migrate(KEY, target);
  const settling = sidecar.settle([settlement('1', first.fence)]).catch((error: unknown) => error);
  expect(await settling).toMatchObject({ code: 'unavailable', transient: true });
  for (const key of keys) expect(await there.exists(key)).toBe(1);
  await migration.moveKeys();
  await migration.finish();
  expect(await afterwards(() => sidecar.snapshot())).toMatchObject({ leases: 1 });
  const made = { node: '-', counter: 'hold without lease', stored: 0, recounted: 1 };
  expect((await admin.audit(TREE_KEY)).drifts).toEqual([made]);
});

test('F6 a call that meets a slot on the move for longer than it may wait is told so, and not carried out', async () => {
  const { cluster, sidecar } = await clusterWithTree({ concurrency: 1 });
  const { target } = await otherThanOwner(cluster);
  const migration = await cluster.migrate(KEY, target);
  await migration.moveKeys();
  await expect(sidecar.acquire(request('1'))).rejects.toMatchObject({ code: 'unavailable', transient: true });
  await migration.finish();
  expect(await afterwards(() => sidecar.snapshot())).toMatchObject({ leases: 0 });
});

test('a client with an old map of the cluster is led to the new owner, also by servers that do not know it yet', async () => {
  const { cluster, sidecar } = await clusterWithTree({ concurrency: 3 });
  await granted(sidecar, '1');
  const { source, target } = await otherThanOwner(cluster);
  const third = cluster.servers.find((each) => each !== source && each !== target);
  const migration = await cluster.migrate(KEY, target);
  await migration.moveKeys();
  await migration.finish({ quietly: true });
  await granted(sidecar, '2');
  expect(await redirects(cluster, source, 'MOVED')).toBeGreaterThan(0);
  const url = `rediss+cluster://127.0.0.1:${third?.port}`;
  const late = await open({ ...cluster, url }, TREE_USER);
  await granted(createSidecarEngine({ redis: late.redis, treeKey: TREE_KEY }), '3');
});

test('a confirmed call follows a slot that moves', async () => {
  const { cluster, connection, sidecar } = await clusterWithTree({ concurrency: 1 });
  const confirmed = createConfirmer(connection.redis, createDialect());
  const { id, fence } = await granted(sidecar, '1');
  const claim = () =>
    confirmed('claim', { keys, args: [id, String(fence)] }, { replicas: 0, timeoutMs: 20 }, undefined);
  expect(await claim()).toEqual({ reply: 1, isReplicated: true });
  const { source, target } = await otherThanOwner(cluster);
  const migration = await cluster.migrate(KEY, target);
  await migration.moveKeys();
  const moving = claim();
  await eventually(async () => (await redirects(cluster, source, 'ASK')) > 0, 'the old owner says ASK');
  await migration.finish();
  expect(await moving).toEqual({ reply: 1, isReplicated: true });
  expect(await claim()).toEqual({ reply: 1, isReplicated: true });
});

/** Settles as a session does: another server may have taken over meanwhile. */
async function settleSurely(sidecar: SidecarEngine, grant: Grant): Promise<void> {
  const leases = [{ lease: grant, request: request(grant.id), sent: true }];
  await eventually(async () => {
    const [reply] = await sidecar.settle([settlement(grant.id, grant.fence)]);
    if (reply?.kind === 'epoch') await sidecar.register({ owner: 'pod-1', leases, disclaimed: [] });
    return reply?.kind !== 'epoch';
  }, 'the call is settled');
}

test('under calls a slot moves there and back, and never is more granted than the limit', async () => {
  const limit = 2;
  const { cluster, admin, sidecar } = await clusterWithTree({ concurrency: limit });
  const running = new Set<string>();
  const grants = new Set<string>();
  let most = 0;
  let stopped = false;
  const work = async (worker: number): Promise<void> => {
    for (let i = 0; !stopped; i++) {
      const id = `${worker}-${i}`;
      const grant = await afterwards(() => sidecar.acquire(request(id)));
      if (grant.kind !== 'granted') continue;
      expect(grants.has(id)).toBe(false);
      grants.add(id);
      running.add(id);
      most = Math.max(most, running.size);
      await afterwards(() => sidecar.snapshot());
      running.delete(id);
      await settleSurely(sidecar, grant);
    }
  };
  const workers = [0, 1, 2, 3].map(work);
  for (let round = 0; round < 4; round++) {
    const before = grants.size;
    await eventually(async () => grants.size > before + 20, 'calls go on');
    const { target } = await otherThanOwner(cluster);
    const migration = await cluster.migrate(KEY, target);
    while ((await migration.moveKeys(1)) > 0);
    await migration.finish({ quietly: round % 2 === 1 });
  }
  stopped = true;
  await Promise.all(workers);
  expect(most).toBe(limit);
  expect(await sidecar.snapshot()).toMatchObject({ leases: 0 });
  expect((await admin.audit(TREE_KEY)).drifts).toEqual([]);
});

describe('W2 a slot that moves to another server', () => {
  const identitiesOf = async (cluster: TestCluster): Promise<string[]> => {
    const admins = cluster.servers.slice(0, 3).map((server) => cluster.admin(server));
    return Promise.all(admins.map(identityOf));
  };
  const move = async (cluster: TestCluster): Promise<void> => {
    const { target } = await otherThanOwner(cluster);
    const migration = await cluster.migrate(KEY, target);
    await migration.moveKeys();
    await migration.finish();
  };
  const soon = () => Date.now() + 60_000;

  test('F2 may go to a master that had none: user and library are there before, and it is declared with the others', async () => {
    const { cluster, admin, sidecar } = await clusterWithTree({ concurrency: 2 });
    const { target } = await otherThanOwner(cluster);
    const there = cluster.admin(target);
    await cluster.empty(target);
    await there.call('ACL', 'DELUSER', TREE_USER.username);
    await there.call('FUNCTION', 'FLUSH');
    await everyServerHasUser(cluster);
    await eventually(async () => ((await there.call('FUNCTION', 'LIST')) as unknown[]).length === 1, 'the library');
    const servers = serversOf((await open(cluster, OPERATOR)).redis);
    onTestFinished(() => servers[Symbol.dispose]());
    const all = await servers.list(AbortSignal.timeout(10_000));
    const { epoch } = await granted(sidecar, '1');
    await admin.declareMove(TREE_KEY, { identities: await Promise.all(all.map(identityOf)), untilMs: soon() });
    const migration = await cluster.migrate(KEY, target);
    await migration.moveKeys();
    await migration.finish();
    const grant = await afterwards(() => sidecar.acquire(request('2', { epoch })));
    expect(grant).toMatchObject({ kind: 'granted', epoch });
  });

  test('raises no epoch where that was declared: leases run on, and calls are granted without learning first', async () => {
    const { cluster, admin, sidecar } = await clusterWithTree({ concurrency: 3 });
    const first = await granted(sidecar, '1');
    await admin.declareMove(TREE_KEY, { identities: await identitiesOf(cluster), untilMs: soon() });
    // A new revision of the tree does not undo the declaration.
    await admin.configure(treeOf([node('account', null, { concurrency: 2 })]), { ...REVISION, generation: 2 });
    for (const id of ['2', '3']) {
      await move(cluster);
      const { epoch } = first;
      const grant = await afterwards(() => sidecar.acquire(request(id, { generation: 2, epoch })));
      expect(grant).toMatchObject({ kind: 'granted', epoch });
      if (grant.kind === 'granted' && id === '2') await sidecar.settle([settlement(id, grant.fence)]);
    }
    expect(await sidecar.settle([settlement('1', first.fence)])).toMatchObject([{ kind: 'settled', late: false }]);
    expect((await admin.audit(TREE_KEY)).drifts).toEqual([]);
  });

  test.each<[string, (identities: readonly string[]) => { identities: readonly string[]; untilMs: number }]>([
    ['nothing was declared', () => ({ identities: [], untilMs: 0 })],
    ['the time of the declaration is over', (identities) => ({ identities, untilMs: Date.now() })],
    ['other servers were declared', () => ({ identities: ['another/one', 'one/more'], untilMs: soon() })],
  ])('raises the epoch when %s', async (_, declared) => {
    const { cluster, admin, sidecar } = await clusterWithTree({ concurrency: 2 });
    const first = await granted(sidecar, '1');
    await admin.declareMove(TREE_KEY, declared(await identitiesOf(cluster)));
    await move(cluster);
    const told = await afterwards(() => sidecar.acquire(request('2', { epoch: first.epoch })));
    expect(told).toMatchObject({ kind: 'epoch' });
  });

  test('raises the epoch when a replica took over meanwhile, whatever was declared', async () => {
    const { cluster, admin, sidecar } = await clusterWithTree({ concurrency: 2 }, { replicas: true });
    const first = await granted(sidecar, '1');
    await admin.declareMove(TREE_KEY, { identities: await identitiesOf(cluster), untilMs: soon() });
    await (await cluster.ownerOf(KEY)).kill();
    const told = await afterwards(() => sidecar.acquire(request('2', { epoch: first.epoch })));
    expect(told).toMatchObject({ kind: 'epoch' });
  });

  test("W5 is declared by administrators only: a tree's user may neither call that nor write it", async () => {
    const { cluster, connection } = await clusterWithTree({ concurrency: 2 });
    const declaring = createAdminEngine({ redis: connection.redis }).declareMove(TREE_KEY, {
      identities: await identitiesOf(cluster),
      untilMs: soon(),
    });
    await expect(declaring).rejects.toMatchObject({ code: 'forbidden' });
    await expect(connection.redis.hset(configKey(TREE_KEY), 'm', '')).rejects.toThrow('NOPERM');
  });
});
