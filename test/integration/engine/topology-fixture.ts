/** A tree on several servers: connections, its users and waiting for what settles by itself. */
import { onTestFinished } from 'vitest';
import { RedisKeeper } from '#operator/redis-keeper.ts';
import { treePassword } from '#operator/tree-users.ts';
import { systemClock } from '#sidecar/base/clock.ts';
import { createLog } from '#sidecar/base/log.ts';
import { treeUser } from '#sidecar/engine/acl.ts';
import { createAdminEngine } from '#sidecar/engine/client.ts';
import { connectRedis, type RedisConnection, type RedisUser } from '#sidecar/engine/connect.ts';
import { functionKeys } from '#sidecar/engine/keys.ts';
import type { SidecarEngine } from '#sidecar/engine/port.ts';
import { serversOf } from '#sidecar/engine/servers.ts';
import type { Grant, Verdict } from '#sidecar/engine/terms.ts';
import type { NodeConfig } from '#sidecar/engine/tree-terms.ts';
import { node, request, treeOf, TREE_KEY } from '#test/support/engine.ts';
import { eventually } from '#test/support/redis-stage.ts';
import { ASKER, type Topology } from '#test/support/redis-topologies.ts';

const KEY = 'the-key-of-all-users';
/** What the keeper of `keepUsers` writes. */
export const TREE_USER: RedisUser = { username: treeUser(TREE_KEY), password: treePassword(KEY, TREE_KEY) };
export const keys = functionKeys(TREE_KEY);

export async function open(topology: Topology, user: RedisUser | null = null): Promise<RedisConnection> {
  const { url, ca } = topology;
  const settings = { url, username: user?.username ?? null, password: user?.password ?? null, caPem: ca };
  const sentinel = user && url.includes('+sentinel') ? { sentinel: ASKER } : {};
  const connection = connectRedis({ ...settings, ...sentinel }, { name: 'test', onError: () => undefined });
  onTestFinished(() => connection[Symbol.asyncDispose]());
  await connection.ready(AbortSignal.timeout(20_000));
  return connection;
}

export async function configure({ redis }: RedisConnection, account: Partial<NodeConfig>) {
  const admin = createAdminEngine({ redis });
  await admin.loadLibrary();
  await admin.configure(treeOf([node('account', null, account)]), { leaseCreatedMs: 1, transitions: 0, generation: 1 });
  return admin;
}

export async function granted(sidecar: SidecarEngine, id: string, epoch: number | null = null): Promise<Grant> {
  let verdict = await sidecar.acquire(request(id, { epoch }));
  // The slot has another server now: it grants again once the owner has told what it runs, and after a while (rule T7).
  if (isLearning(verdict)) await sidecar.register({ owner: 'pod-1', leases: [], disclaimed: [] });
  await eventually(async () => {
    if (isLearning(verdict)) verdict = await sidecar.acquire(request(id, { epoch }));
    return !isLearning(verdict);
  }, 'Redis has learnt what runs');
  if (verdict.kind !== 'granted') throw new Error(`${id} was answered ${JSON.stringify(verdict)}`);
  return verdict;
}

const isLearning = (verdict: Verdict): boolean => verdict.kind === 'denied' && verdict.reason === 'Learning';

/** The verdict once Redis can be asked again. */
export async function afterwards<T>(ask: () => Promise<T>): Promise<T> {
  let answer: T | null = null;
  await eventually(async () => {
    answer = await ask();
    return true;
  }, 'Redis can be asked again');
  return answer as T;
}

/** The keeper of the operator, until the test is over; resolves when every server has the tree's user. */
export async function keepUsers(operator: RedisConnection, topology: Topology): Promise<void> {
  const servers = serversOf(operator.redis);
  const log = createLog('silent');
  const options = { usersKey: KEY, trees: () => new Map([[TREE_KEY, null]]), clock: systemClock, log };
  const keeper = new RedisKeeper({ ...options, servers });
  const stop = new AbortController();
  const running = keeper.run(stop.signal);
  onTestFinished(async () => {
    stop.abort();
    await running;
    servers[Symbol.dispose]();
  });
  await everyServerHasUser(topology);
}

export async function everyServerHasUser(topology: Topology): Promise<void> {
  const admins = topology.servers.map((server) => topology.admin(server));
  const hasUser = async (each: (typeof admins)[number]): Promise<boolean> =>
    (await each.call('ACL', 'GETUSER', TREE_USER.username)) !== null;
  await eventually(async () => (await Promise.all(admins.map(hasUser))).every(Boolean), 'every server has the user');
  for (const each of admins) each.disconnect();
}
