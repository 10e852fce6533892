/** Every server of a Redis, replicas too: what is not replicated (users) or not spread over a cluster (libraries) is written to each. */
import type { Redis } from 'ioredis';
import type { Commandable } from './library.ts';
import { addressOf, isCluster, type RedisClient, refreshTopology } from './topology.ts';

export interface RedisServer extends Commandable {
  /** `host:port`, as the others call it. */
  readonly address: string;
  readonly isMaster: boolean;
}

export interface RedisServers extends Disposable {
  /**
   * All that are known now: those of a cluster, or a master and its replicas where Sentinels watch them. Of a single
   * server only itself: what else there may be is not ours to enter. Fails as Redis does, or with the signal's reason.
   */
  list(signal: AbortSignal): Promise<readonly RedisServer[]>;
  /** Tells when there may be other servers than before, or one that was restarted. */
  subscribe(listener: () => void): Disposable;
}

/** Which server this is, as the engine itself tells (`lua/prelude.lua`); another one after each start and each fail-over. */
export async function identityOf(server: Commandable): Promise<string> {
  const about = async (section: string, field: string): Promise<string> =>
    new RegExp(`^${field}:(\\w+)`, 'm').exec(String(await server.call('INFO', section)))?.[1] ?? '-';
  return `${await about('server', 'run_id')}/${await about('replication', 'master_replid')}`;
}

/** Over a connection of the operator's user, which stays the caller's; other servers are connected to as that user. */
export function serversOf(redis: RedisClient): RedisServers {
  const others = new Map<string, Redis>();

  /** Servers that the client has no connection to, each over one of its own that is kept. */
  function connected(like: Redis, addresses: readonly string[], isMaster: boolean): readonly RedisServer[] {
    for (const [address, other] of others) {
      if (addresses.includes(address)) continue;
      other.disconnect();
      others.delete(address);
    }
    return addresses.map((address) => {
      const other = others.get(address) ?? connectOther(like, address);
      others.set(address, other);
      return serverOf(other, address, isMaster);
    });
  }

  /** The replicas that the master knows. */
  async function replicasOf(master: Redis): Promise<readonly RedisServer[]> {
    const known = Array.from((await master.info('replication')).matchAll(/^slave\d+:ip=([^,]+),port=(\d+),/gm));
    return connected(
      master,
      Array.from(known, ([, host, port]) => `${host}:${port}`),
      false,
    );
  }

  /** Masters without a slot: the first one to move there must find everything else in place. */
  async function mastersBeside(masters: readonly Redis[]): Promise<readonly RedisServer[]> {
    const [first] = masters;
    if (first === undefined) return [];
    const known = new Set(masters.map(addressOf));
    const all = mastersIn(String(await first.call('CLUSTER', 'NODES')));
    const missing = all.filter((names) => !names.some((name) => known.has(name)));
    // Where clients are led to hosts, certificates may name nothing else.
    const areHosts = all.some(([, byHost]) => byHost !== undefined && known.has(byHost));
    return connected(
      first,
      missing.flatMap(([address, byHost]) => (areHosts ? byHost : null) ?? address ?? []),
      true,
    );
  }

  return {
    list: async (signal) => {
      await refreshTopology(redis);
      signal.throwIfAborted();
      if (isCluster(redis)) {
        const nodes = redis.nodes('master');
        const masters = nodes.map((each) => serverOf(each, addressOf(each), true));
        return [
          ...masters,
          ...(await mastersBeside(nodes)),
          ...redis.nodes('slave').map((each) => serverOf(each, addressOf(each), false)),
        ];
      }
      const isWatched = 'sentinels' in redis.options && redis.options.sentinels !== null;
      return [serverOf(redis, 'master', true), ...(isWatched ? await replicasOf(redis) : [])];
    },
    subscribe: (listener) => {
      const tell = (): void => listener();
      const events = isCluster(redis) ? ['ready', '+node'] : ['ready'];
      for (const event of events) redis.on(event, tell);
      return { [Symbol.dispose]: () => events.forEach((event) => redis.off(event, tell)) };
    },
    [Symbol.dispose]: () => {
      for (const other of others.values()) other.disconnect();
    },
  };
}

function serverOf(redis: Redis, address: string, isMaster: boolean): RedisServer {
  return { address, isMaster, call: (command, ...args) => redis.call(command, ...args) };
}

/** The working masters in the words of `CLUSTER NODES`: by address and, if it has one, by host name; address first. */
function mastersIn(nodes: string): readonly (readonly string[])[] {
  return nodes.split('\n').flatMap((line) => {
    const [, address = '', flags = ''] = line.split(' ');
    const words = flags.split(',');
    if (!words.includes('master') || words.some((word) => ['fail', 'handshake', 'noaddr'].includes(word))) return [];
    const [place = '', host = ''] = address.split(',');
    const [endpoint = ''] = place.split('@');
    const port = endpoint.slice(endpoint.lastIndexOf(':') + 1);
    return [[endpoint, ...(host === '' ? [] : [`${host}:${port}`])]];
  });
}

function connectOther(like: Redis, address: string): Redis {
  const at = address.lastIndexOf(':');
  const place = { host: address.slice(0, at), port: Number(address.slice(at + 1)) };
  // Its first commands wait for the connection, as long as any command waits for its answer.
  const other = like.duplicate({ ...place, sentinels: null, name: null, enableOfflineQueue: true } as object);
  // Whoever asks it something is told.
  other.on('error', () => undefined);
  return other as Redis;
}
