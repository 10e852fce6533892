/**
 * Several real Redis servers that belong together, on loopback: a master with a replica behind a proxy that can be cut,
 * the same watched by three Sentinels, and a cluster of three masters. Disposing ends every process that was started.
 */
import type { Redis } from 'ioredis';
import { type CuttingProxy, startProxy } from './redis-proxy.ts';
import { eventually, onStage, OPERATOR, type Stage, type TopologyOptions, type User, userLine } from './redis-stage.ts';
import type { TestRedis } from './redis.ts';

export interface Topology extends AsyncDisposable {
  /** As `RedisSettings` take it. */
  readonly url: string;
  /** PEM; null without TLS. */
  readonly ca: string | null;
  /** Data servers, in the order in which they were started. */
  readonly servers: readonly TestRedis[];
  /** A new connection over the server's Unix socket, as `OPERATOR` where there are users; closed with the topology. */
  admin(server: TestRedis): Redis;
}

export interface Replicated extends Topology {
  readonly master: TestRedis;
  readonly replica: TestRedis;
  /** What the replica hears of the master. */
  readonly link: CuttingProxy;
  /** Where the URL leads: clients can be sent to the other server. */
  readonly front: CuttingProxy;
  /** The replica has everything the master has. */
  caughtUp(): Promise<void>;
}

export interface Sentinels extends Topology {
  readonly sentinels: readonly TestRedis[];
  /** The data server that the Sentinels name now. */
  master(): Promise<TestRedis>;
  /** All Sentinels know of each other, name the same master and see at least one replica in sync with it. */
  settled(): Promise<void>;
  /**
   * Starts a server that was killed again, as a replica of the present master. (Left to the Sentinels it would offer its
   * empty memory as a master for up to ten seconds.)
   */
  rejoin(server: TestRedis): Promise<void>;
}

/** May ask the Sentinels where the master is, where they have users. */
export const ASKER: User = { username: 'asker', password: 'the-asker-of-the-sentinels' };
const PEER: User = { username: 'peer', password: 'a-sentinel-among-sentinels' };
const MASTER_NAME = 'main';

export function topologyOf(stage: Stage, rest: string): Topology {
  return {
    url: `${stage.pki ? 'rediss' : 'redis'}${rest}`,
    ca: stage.pki?.ca ?? null,
    servers: stage.servers,
    admin: (server) => stage.admin(server),
    [Symbol.asyncDispose]: () => stage[Symbol.asyncDispose](),
  };
}

export async function infoOf(redis: Redis, field: string): Promise<string> {
  return new RegExp(`^${field}:(.*)\r$`, 'm').exec(await redis.info())?.[1] ?? '';
}

export async function startReplicated(options: TopologyOptions = {}): Promise<Replicated> {
  return onStage(options, async (stage) => {
    const master = await stage.server();
    const link = stage.use(await startProxy(master.port));
    const front = stage.use(await startProxy(master.port));
    const replica = await stage.server([`replicaof 127.0.0.1 ${link.port}`]);
    const [masterAdmin, replicaAdmin] = [stage.admin(master), stage.admin(replica)];
    const caughtUp = (): Promise<void> =>
      eventually(async () => {
        if ((await infoOf(replicaAdmin, 'master_link_status')) !== 'up') return false;
        const written = await infoOf(masterAdmin, 'master_repl_offset');
        return (await infoOf(replicaAdmin, 'slave_repl_offset')) === written;
      }, 'the replica has caught up');
    await caughtUp();
    return { ...topologyOf(stage, `://127.0.0.1:${front.port}`), master, replica, link, front, caughtUp };
  });
}

export async function startSentinels(
  options: TopologyOptions & { readonly replicas?: number } = {},
): Promise<Sentinels> {
  return onStage(options, async (stage) => {
    const first = await stage.server();
    for (let i = 0; i < (options.replicas ?? 1); i++) await stage.server([`replicaof 127.0.0.1 ${first.port}`]);
    const sentinels: TestRedis[] = [];
    for (let i = 0; i < 3; i++) sentinels.push(await stage.sentinel(sentinelLines(first, stage)));
    const [asked] = sentinels.map((each) => stage.admin(each, PEER));
    if (!asked) throw new Error('no Sentinel');
    const master = async (): Promise<TestRedis> => {
      const [, port] = ((await asked.call('SENTINEL', 'GET-MASTER-ADDR-BY-NAME', MASTER_NAME)) ?? []) as string[];
      const found = stage.servers.find((each) => String(each.port) === port);
      if (!found) throw new Error(`no server has port ${port}`);
      return found;
    };
    const settled = (): Promise<void> =>
      eventually(async () => {
        const masters = await Promise.all(sentinels.map((each) => settledMaster(stage, each)));
        return new Set(masters).size === 1 && masters[0] !== null;
      }, 'all Sentinels agree');
    await settled();
    const hosts = sentinels.map(({ port }) => `127.0.0.1:${port}`).join(',');
    const rejoin = async (server: TestRedis): Promise<void> => {
      await server.restart();
      const admin = stage.admin(server);
      await admin.call('REPLICAOF', '127.0.0.1', (await master()).port);
      admin.disconnect();
      await settled();
    };
    return { ...topologyOf(stage, `+sentinel://${hosts}/${MASTER_NAME}`), sentinels, master, settled, rejoin };
  });
}

function sentinelLines(master: TestRedis, { options }: Stage): readonly string[] {
  const lines = [
    `sentinel monitor ${MASTER_NAME} 127.0.0.1 ${master.port} 2`,
    `sentinel down-after-milliseconds ${MASTER_NAME} 1500`,
    `sentinel failover-timeout ${MASTER_NAME} 3000`,
  ];
  if (!options.acl) return lines;
  const asking = '+auth +hello +ping +client|setname +sentinel|get-master-addr-by-name +sentinel|sentinels';
  return [
    ...lines,
    `sentinel auth-user ${MASTER_NAME} ${OPERATOR.username}`,
    `sentinel auth-pass ${MASTER_NAME} ${OPERATOR.password}`,
    `sentinel sentinel-user ${PEER.username}`,
    `sentinel sentinel-pass ${PEER.password}`,
    'user default off',
    userLine(PEER, '~* &* +@all'),
    userLine(ASKER, `-@all ${asking}`),
  ];
}

/** The port of the master, null as long as this Sentinel does not know all others and a replica in sync with it. */
async function settledMaster(stage: Stage, sentinel: TestRedis): Promise<string | null> {
  const redis = stage.admin(sentinel, PEER);
  try {
    const master = fieldsOf(await redis.call('SENTINEL', 'MASTER', MASTER_NAME));
    const replicas = ((await redis.call('SENTINEL', 'REPLICAS', MASTER_NAME)) as unknown[]).map(fieldsOf);
    const isFine = (each: Record<string, string>): boolean =>
      each['flags'] === 'slave' && each['master-link-status'] === 'ok' && each['master-port'] === master['port'];
    const isWhole = master['flags'] === 'master' && master['num-other-sentinels'] === '2' && replicas.some(isFine);
    return isWhole ? (master['port'] ?? null) : null;
  } finally {
    redis.disconnect();
  }
}

function fieldsOf(reply: unknown): Record<string, string> {
  const flat = reply as string[];
  return Object.fromEntries(flat.flatMap((name, i) => (i % 2 === 0 ? [[name, flat[i + 1] ?? '']] : [])));
}
