/** Another password for the Redis user of one tree (rule W5): what its sidecars notice, and what those of others do not. */
import type { Redis } from 'ioredis';
import { expect, onTestFinished, test } from 'vitest';
import { RedisKeeper } from '#operator/redis-keeper.ts';
import { treePassword } from '#operator/tree-users.ts';
import { createCell } from '#sidecar/base/cell.ts';
import { systemClock } from '#sidecar/base/clock.ts';
import { createLog } from '#sidecar/base/log.ts';
import type { SidecarSnapshot } from '#sidecar/control/terms.ts';
import { treeUser } from '#sidecar/engine/acl.ts';
import { createAdminEngine, createSidecarEngine } from '#sidecar/engine/client.ts';
import { connectRedis, type RedisConnection } from '#sidecar/engine/connect.ts';
import { serversOf } from '#sidecar/engine/servers.ts';
import type { TreeKey } from '#sidecar/engine/tree-terms.ts';
import { createLeaseDesk } from '#sidecar/leases/desk.ts';
import type { HeldLease } from '#sidecar/leases/terms.ts';
import { node } from '#test/support/engine.ts';
import { startCluster } from '#test/support/redis-cluster.ts';
import { eventually, OPERATOR, Stage, type User } from '#test/support/redis-stage.ts';
import { type Topology, topologyOf } from '#test/support/redis-topologies.ts';
import { makeTestPki } from '#test/support/redis-pki.ts';
import { metricsForTest, snapshotOf } from '../../unit/leases/fixtures.ts';
import { ManualClock } from '../../unit/runtime/manual-clock.ts';

const KEY = 'the-key-of-all-users';
const TREES = ['abcdefghijklmnopqrstuvwxyz', 'bcdefghijklmnopqrstuvwxyza'] as const;
const [ROTATED, OTHER] = TREES;
const log = createLog('silent');
const USAGE = { inputTokens: 10, cachedTokens: 0, outputTokens: 5 };

async function startSingle(): Promise<Topology> {
  const stage = new Stage({ tls: true, acl: true }, await makeTestPki());
  const { port } = await stage.server();
  return topologyOf(stage, `://127.0.0.1:${port}`);
}

function connect({ url, ca }: Pick<Topology, 'url' | 'ca'>, user: User): RedisConnection {
  const connection = connectRedis({ url, ...user, caPem: ca }, { name: 'test', onError: () => undefined });
  onTestFinished(() => connection[Symbol.asyncDispose]());
  return connection;
}

async function configure({ redis }: RedisConnection): Promise<void> {
  const admin = createAdminEngine({ redis });
  await admin.loadLibrary();
  const nodes = [node('account', null, { concurrency: 4 }), node('quota:team/a', 'account')];
  for (const key of TREES) {
    const tree = { key, account: { namespace: 'glm', name: key, uid: key }, nodes };
    await admin.configure(tree, { leaseCreatedMs: 1, transitions: 0, generation: 7 });
  }
}

/** A process bound to a tree, as the sidecar's main wires it. */
function startDesk(topology: Topology, treeKey: TreeKey) {
  const tell = (rotation: string | null): SidecarSnapshot => {
    const password = treePassword(KEY, treeKey, rotation);
    const redis = { url: topology.url, username: treeUser(treeKey), password, caPem: topology.ca };
    return { ...snapshotOf({ treeKey }), redis };
  };
  const snapshots = createCell<SidecarSnapshot | null>(tell(null));
  const opened: RedisConnection[] = [];
  const desk = createLeaseDesk({
    snapshots,
    openEngine: ({ redis: settings }) => {
      const connection = connectRedis(settings, { name: 'sidecar', onError: () => undefined });
      opened.push(connection);
      return {
        engine: createSidecarEngine({
          redis: connection.redis,
          treeKey,
          subscribe: (channel, subscriber, signal) => connection.subscribe(channel, subscriber, signal),
        }),
        ready: (signal) => connection.ready(signal),
        reconnect: (signal) => connection.reconnect(signal),
        authenticate: (password) => connection.authenticate(password),
        [Symbol.asyncDispose]: () => connection[Symbol.asyncDispose](),
      };
    },
    processId: 'pod-1',
    clock: systemClock,
    log,
    metrics: metricsForTest().metrics,
  });
  onTestFinished(() => desk[Symbol.asyncDispose]());
  const admit = async (): Promise<HeldLease> => {
    const call = { model: 'glm-5.2', estimate: USAGE };
    const admission = await desk.admit(call, AbortSignal.timeout(20_000));
    if (admission.kind !== 'admitted') throw new Error(JSON.stringify(admission));
    return admission.lease;
  };
  return { desk, admit, opened, rotate: (rotation: string) => snapshots.set(tell(rotation)) };
}

/** Ids of the connections of a tree's user. */
async function connectionsOf(admins: readonly Redis[], tree: TreeKey): Promise<readonly string[]> {
  const lists = await Promise.all(admins.map((each) => each.call('CLIENT', 'LIST') as Promise<string>));
  const lines = lists.flatMap((list, index) => list.split('\n').map((line) => `${index} ${line}`));
  return lines.filter((line) => line.includes(` user=${treeUser(tree)} `)).map((line) => /^\d+ id=\d+/.exec(line)![0]);
}

async function mayLogIn(topology: Topology, rotation: string | null): Promise<boolean> {
  const user = { username: treeUser(ROTATED), password: treePassword(KEY, ROTATED, rotation) };
  const answers = topology.servers.map(async (server) => {
    const redis = topology.admin(server);
    const answer = await redis.call('AUTH', user.username, user.password).catch((error: Error) => error.message);
    redis.disconnect();
    return answer === 'OK';
  });
  return (await Promise.all(answers)).every(Boolean);
}

test.each<[string, () => Promise<Topology>]>([
  ['one server', startSingle],
  ['a cluster', () => startCluster({ tls: true, acl: true })],
])(
  'W5 rotating one user on %s: its sidecars log in anew with all their leases, others notice nothing',
  async (_, start) => {
    await using topology = await start();
    const operator = connect(topology, OPERATOR);
    await operator.ready(AbortSignal.timeout(20_000));
    await configure(operator);
    const admins = topology.servers.map((server) => topology.admin(server));
    const servers = serversOf(operator.redis);
    const rotations = new Map<TreeKey, string | null>(TREES.map((tree) => [tree, null]));
    const clock = new ManualClock();
    const keeper = new RedisKeeper({ servers, usersKey: KEY, trees: () => rotations, clock, log });
    const stop = new AbortController();
    const running = keeper.run(stop.signal);
    onTestFinished(async () => {
      stop.abort();
      await running;
      servers[Symbol.dispose]();
    });
    await eventually(() => mayLogIn(topology, null), 'the users are written');
    const [rotated, other] = [startDesk(topology, ROTATED), startDesk(topology, OTHER)];
    for (const { desk } of [rotated, other]) await desk.prepare(AbortSignal.timeout(20_000));
    const leases = [await rotated.admit(), await other.admit()] as const;
    for (const lease of leases) expect(await lease.start(AbortSignal.timeout(20_000))).toBe(true);
    const before = { rotated: await connectionsOf(admins, ROTATED), other: await connectionsOf(admins, OTHER) };

    rotations.set(ROTATED, 'again');
    keeper.touch();
    await eventually(() => mayLogIn(topology, 'again'), 'the new password serves');
    expect(await mayLogIn(topology, null)).toBe(true);
    rotated.rotate('again');
    await eventually(async () => clock.pending.length > 0, 'the keeper rests');
    await clock.advance(10_000);
    await eventually(async () => !(await mayLogIn(topology, null)), 'the old password serves no more');
    await eventually(async () => {
      const now = await connectionsOf(admins, ROTATED);
      return now.length > 0 && now.every((id) => !before.rotated.includes(id));
    }, 'everybody with the old password was sent away, and the sidecar came back');

    expect(await connectionsOf(admins, OTHER)).toEqual(before.other);
    expect(
      await Promise.all(
        leases.map((lease) => lease.settle({ outcome: 'completed', usage: USAGE, responseModel: null })),
      ),
    ).toEqual([{ late: false }, { late: false }]);
    expect([rotated.opened.length, other.opened.length]).toEqual([1, 1]);
    const another = await rotated.admit();
    await another.cancel();
  },
);
