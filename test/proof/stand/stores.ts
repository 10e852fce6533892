/** The Redis of a proof: where each sidecar is sent, and the operator's own way in, which no fault of the network touches. */
import { connectRedis, type RedisConnection, type RedisSettings } from '#sidecar/engine/connect.ts';
import { type CuttingProxy, startProxy } from '#test/support/redis-proxy.ts';
import { startRedis, type TestRedis, type TestRedisOptions } from '#test/support/redis.ts';
import { startCluster, type TestCluster } from '#test/support/redis-cluster.ts';
import {
  ASKER,
  type Replicated,
  type Sentinels,
  startReplicated,
  startSentinels,
} from '#test/support/redis-topologies.ts';
import { OPERATOR, type TopologyOptions } from '#test/support/redis-stage.ts';
import { setTreeUser, treePassword } from '#operator/tree-users.ts';
import { treeUser } from '#sidecar/engine/acl.ts';
import { TREE_KEY } from './tree.ts';

const CONNECT_MS = 30_000;

export interface Store extends AsyncDisposable {
  /** The operator's. */
  readonly operator: RedisConnection;
  /** For the sidecar of that number. */
  settings(index: number): RedisSettings;
}

export function settingsOf(url: string, rest: Partial<RedisSettings> = {}): RedisSettings {
  return { url, username: null, password: null, caPem: null, ...rest };
}

/** Connected; an operator that has to wait for its Redis says nothing of it here. */
export async function connectOperator(settings: RedisSettings): Promise<RedisConnection> {
  const connection = connectRedis(settings, { name: 'proof-operator', onError: () => undefined });
  await connection.ready(AbortSignal.timeout(CONNECT_MS));
  return connection;
}

export interface SingleStore extends Store {
  readonly server: TestRedis;
  /** Between a sidecar and Redis. */
  link(index: number): CuttingProxy;
}

/** One server; every sidecar reaches it through a proxy of its own. `sidecars`: how many there will be. */
export async function openSingle(sidecars: number, options: TestRedisOptions = {}): Promise<SingleStore> {
  await using stack = new AsyncDisposableStack();
  const server = stack.use(await startRedis(options));
  const link = await openLinks(sidecars, server.port, stack);
  const operator = stack.use(await connectOperator(settingsOf(server.url, { caPem: server.ca })));
  const owned = stack.move();
  return {
    server,
    operator,
    link,
    settings: (index) => settingsOf(`redis://127.0.0.1:${link(index).port}`),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

async function openLinks(count: number, port: number, stack: AsyncDisposableStack): Promise<SingleStore['link']> {
  const links: CuttingProxy[] = [];
  for (let index = 0; index < count; index++) links.push(stack.use(await startProxy(port)));
  return (index) => {
    const found = links[index];
    if (found === undefined) throw new Error(`no sidecar ${index}`);
    return found;
  };
}

export interface ReplicatedStore extends Store {
  readonly topology: Replicated;
  /** Between a sidecar and the front. */
  link(index: number): CuttingProxy;
}

/** A master and a replica behind a proxy that can be cut; all go where `topology.front` leads, sidecars by links of their own. */
export async function openReplicated(sidecars: number, options: TopologyOptions = {}): Promise<ReplicatedStore> {
  await using stack = new AsyncDisposableStack();
  const topology = stack.use(await startReplicated(options));
  const link = await openLinks(sidecars, topology.front.port, stack);
  const operator = stack.use(await connectOperator(settingsOf(topology.url)));
  const owned = stack.move();
  return {
    topology,
    operator,
    link,
    settings: (index) => settingsOf(`redis://127.0.0.1:${link(index).port}`),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

export interface SentinelStore extends Store {
  readonly topology: Sentinels;
}

const USERS_KEY = 'the key of all tree users';

/** Three Sentinels, users of their own, and a user for the tree on every server: users are not replicated (rule F2). */
export async function openSentinels(): Promise<SentinelStore> {
  await using stack = new AsyncDisposableStack();
  const topology = stack.use(await startSentinels({ acl: true }));
  for (const server of topology.servers) await setTreeUser(topology.admin(server), TREE_KEY, USERS_KEY);
  const operator = stack.use(await connectOperator(settingsOf(topology.url, { ...OPERATOR, sentinel: ASKER })));
  const user = { username: treeUser(TREE_KEY), password: treePassword(USERS_KEY, TREE_KEY), sentinel: ASKER };
  const owned = stack.move();
  return {
    topology,
    operator,
    settings: () => settingsOf(topology.url, user),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

export interface ClusterStore extends Store {
  readonly topology: TestCluster;
}

/** Three masters. */
export async function openCluster(): Promise<ClusterStore> {
  await using stack = new AsyncDisposableStack();
  const topology = stack.use(await startCluster());
  const operator = stack.use(await connectOperator(settingsOf(topology.url)));
  const owned = stack.move();
  return {
    topology,
    operator,
    settings: () => settingsOf(topology.url),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}
