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
  const replicas = new Map<string, Redis>();

  /** The replicas that the master knows, each over a connection of its own that is kept. */
  async function replicasOf(master: Redis): Promise<readonly RedisServer[]> {
    const known = Array.from((await master.info('replication')).matchAll(/^slave\d+:ip=([^,]+),port=(\d+),/gm));
    const addresses = new Map(known.map(([, host = '', port]) => [`${host}:${port}`, { host, port: Number(port) }]));
    for (const [address, replica] of replicas) {
      if (addresses.has(address)) continue;
      replica.disconnect();
      replicas.delete(address);
    }
    return Array.from(addresses, ([address, place]) => {
      const replica = replicas.get(address) ?? connectReplica(master, place);
      replicas.set(address, replica);
      return serverOf(replica, address, false);
    });
  }

  return {
    list: async (signal) => {
      await refreshTopology(redis);
      signal.throwIfAborted();
      if (isCluster(redis)) {
        const masters = redis.nodes('master').map((each) => serverOf(each, addressOf(each), true));
        return [...masters, ...redis.nodes('slave').map((each) => serverOf(each, addressOf(each), false))];
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
      for (const replica of replicas.values()) replica.disconnect();
    },
  };
}

function serverOf(redis: Redis, address: string, isMaster: boolean): RedisServer {
  return { address, isMaster, call: (command, ...args) => redis.call(command, ...args) };
}

function connectReplica(master: Redis, place: { readonly host: string; readonly port: number }): Redis {
  // Its first commands wait for the connection, as long as any command waits for its answer.
  const replica = master.duplicate({ ...place, sentinels: null, name: null, enableOfflineQueue: true } as object);
  // Whoever asks it something is told.
  replica.on('error', () => undefined);
  return replica as Redis;
}
