/** A cluster of three masters on loopback, with replicas if wanted, and with slots that move from one to another step by step. */
import type { Redis } from 'ioredis';
import { eventually, onStage, OPERATOR, type Stage, type TopologyOptions } from './redis-stage.ts';
import { infoOf, type Topology, topologyOf } from './redis-topologies.ts';
import { freePort, type TestRedis } from './redis.ts';

export interface TestCluster extends Topology {
  slotOf(key: string): Promise<number>;
  ownerOf(key: string): Promise<TestRedis>;
  /** Begins to move the slot of a key to another master. */
  migrate(key: string, target: TestRedis): Promise<Migration>;
  /** Gives all slots of a master, which hold nothing, to another one; every server knows it then. */
  empty(server: TestRedis): Promise<void>;
}

/** A slot on the move: until `finish`, both servers know of it and redirect. */
export interface Migration {
  readonly source: TestRedis;
  readonly target: TestRedis;
  /** Moves up to `count` of the slot's keys; default: all. Returns how many were moved. */
  moveKeys(count?: number): Promise<number>;
  /**
   * The target owns the slot from now on. The others are told, too, unless `quietly`: then they redirect to the old owner
   * until they hear of it from the target itself.
   */
  finish(options?: { readonly quietly?: boolean }): Promise<void>;
}

const SLOTS = 16_384;
const MASTERS = 3;

export interface ClusterOptions extends TopologyOptions {
  /** Each master has one replica: `servers` holds the three masters, then their replicas in the same order. */
  readonly replicas?: boolean;
}

export async function startCluster(options: ClusterOptions = {}): Promise<TestCluster> {
  return onStage(options, async (stage) => {
    const buses = new Map<TestRedis, number>();
    for (let i = 0; i < MASTERS * (options.replicas ? 2 : 1); i++) {
      const { server, bus } = await startMember(stage);
      buses.set(server, bus);
    }
    const admins = new Map(stage.servers.map((each) => [each, stage.admin(each)]));
    await join(stage, admins, buses);
    await replicate(stage, admins);
    const hosts = stage.servers.map(({ port }) => `${options.hostsOnly ? 'localhost' : '127.0.0.1'}:${port}`).join(',');
    const cluster = new Slots(stage, admins);
    return {
      ...topologyOf(stage, `+cluster://${hosts}`),
      slotOf: (key) => cluster.slotOf(key),
      ownerOf: async (key) => cluster.ownerOf(await cluster.slotOf(key)),
      migrate: (key, target) => cluster.migrate(key, target),
      empty: (server) => cluster.empty(server),
    };
  });
}

/** Another process may take the port of the bus between its choice and its use. */
async function startMember(stage: Stage): Promise<{ readonly server: TestRedis; readonly bus: number }> {
  for (let attempt = 1; ; attempt++) {
    const bus = await freePort();
    const named = ['cluster-announce-hostname localhost', 'cluster-preferred-endpoint-type hostname'];
    const common = ['cluster-enabled yes', `cluster-port ${bus}`, 'cluster-node-timeout 2000'];
    const lines = [...common, ...(stage.options.hostsOnly ? named : [])];
    try {
      return { server: await stage.server(lines), bus };
    } catch (error) {
      if (attempt === 5 || !String(error).includes('Address already in use')) throw error;
    }
  }
}

type Admins = ReadonlyMap<TestRedis, Redis>;

async function join(stage: Stage, admins: Admins, buses: ReadonlyMap<TestRedis, number>): Promise<void> {
  const share = Math.ceil(SLOTS / MASTERS);
  const masters = stage.servers.slice(0, MASTERS);
  for (const [i, server] of masters.entries()) {
    const admin = adminOf(admins, server);
    const last = Math.min((i + 1) * share, SLOTS) - 1;
    await admin.call('CLUSTER', 'SET-CONFIG-EPOCH', i + 1);
    await admin.call('CLUSTER', 'ADDSLOTSRANGE', i * share, last);
  }
  // Only afterwards: a server that knows another takes no epoch any more.
  for (const server of masters) {
    for (const other of stage.servers.filter((each) => each !== server)) {
      await adminOf(admins, server).call('CLUSTER', 'MEET', '127.0.0.1', other.port, buses.get(other) ?? 0);
    }
  }
  const isWhole = async (admin: Redis): Promise<boolean> => {
    const text = String(await admin.call('CLUSTER', 'INFO'));
    return text.includes('cluster_state:ok') && text.includes(`cluster_size:${MASTERS}`);
  };
  const isAllWhole = async (): Promise<boolean> =>
    (await Promise.all(Array.from(admins.values(), isWhole))).every(Boolean);
  await eventually(isAllWhole, 'the cluster is whole');
}

/** Servers behind the masters become their replicas, once they know them. */
async function replicate(stage: Stage, admins: Admins): Promise<void> {
  for (const [i, replica] of stage.servers.slice(MASTERS).entries()) {
    const master = stage.servers[i];
    if (!master) throw new Error('more replicas than masters');
    const id = String(await adminOf(admins, master).call('CLUSTER', 'MYID'));
    const admin = adminOf(admins, replica);
    await eventually(
      async () => (await admin.call('CLUSTER', 'REPLICATE', id)) === 'OK',
      'the replica knows its master',
    );
    await eventually(async () => (await infoOf(admin, 'master_link_status')) === 'up', 'the replica is in sync');
  }
  const shown = MASTERS + Math.max(0, stage.servers.length - MASTERS);
  const isShown = async (admin: Redis): Promise<boolean> =>
    ((await admin.call('CLUSTER', 'SLOTS')) as unknown[][]).reduce((sum, range) => sum + range.length - 2, 0) === shown;
  const isShownByAll = async (): Promise<boolean> =>
    (await Promise.all(Array.from(admins.values(), isShown))).every(Boolean);
  await eventually(isShownByAll, 'every server shows all others');
}

function adminOf(admins: Admins, server: TestRedis): Redis {
  const admin = admins.get(server);
  if (!admin) throw new Error('a server of another topology');
  return admin;
}

class Slots {
  readonly #stage: Stage;
  readonly #admins: Admins;

  constructor(stage: Stage, admins: Admins) {
    this.#stage = stage;
    this.#admins = admins;
  }

  async slotOf(key: string): Promise<number> {
    const [first] = this.#admins.values();
    return Number(await first?.call('CLUSTER', 'KEYSLOT', key));
  }

  /** The server that says of itself that it owns the slot. */
  async ownerOf(slot: number): Promise<TestRedis> {
    for (const [server, admin] of this.#admins) {
      const id = await admin.call('CLUSTER', 'MYID');
      const ranges = (await admin.call('CLUSTER', 'SLOTS')) as [number, number, [string, number, string]][];
      if (ranges.some(([from, to, master]) => from <= slot && slot <= to && master[2] === id)) return server;
    }
    throw new Error(`nobody owns slot ${slot}`);
  }

  async empty(server: TestRedis): Promise<void> {
    const id = await adminOf(this.#admins, server).call('CLUSTER', 'MYID');
    const slots = async (admin: Redis) =>
      ((await admin.call('CLUSTER', 'SLOTS')) as [number, number, [string, number, string]][]).filter(
        ([, , master]) => master[2] === id,
      );
    const ranges = (await slots(adminOf(this.#admins, server))).flatMap(([from, to]) => [from, to]);
    const heir = Array.from(this.#admins.keys()).find((each) => each !== server);
    if (!heir) throw new Error('a cluster of one');
    for (const admin of this.#admins.values()) await admin.call('CLUSTER', 'DELSLOTSRANGE', ...ranges);
    await adminOf(this.#admins, heir).call('CLUSTER', 'ADDSLOTSRANGE', ...ranges);
    await adminOf(this.#admins, heir).call('CLUSTER', 'BUMPEPOCH');
    const isWhole = async (admin: Redis): Promise<boolean> =>
      String(await admin.call('CLUSTER', 'INFO')).includes('cluster_slots_assigned:16384');
    await eventually(
      async () => (await Promise.all(Array.from(this.#admins.values(), isWhole))).every(Boolean),
      'every server knows the new owner',
    );
  }

  async migrate(key: string, target: TestRedis): Promise<Migration> {
    const slot = await this.slotOf(key);
    const source = await this.ownerOf(slot);
    const [from, to] = [adminOf(this.#admins, source), adminOf(this.#admins, target)];
    const [fromId, toId] = [await from.call('CLUSTER', 'MYID'), await to.call('CLUSTER', 'MYID')].map(String);
    await to.call('CLUSTER', 'SETSLOT', slot, 'IMPORTING', String(fromId));
    await from.call('CLUSTER', 'SETSLOT', slot, 'MIGRATING', String(toId));
    return {
      source,
      target,
      moveKeys: async (count = 100_000) => {
        const keys = (await from.call('CLUSTER', 'GETKEYSINSLOT', slot, count)) as string[];
        const user = this.#stage.options.acl ? ['AUTH2', OPERATOR.username, OPERATOR.password] : [];
        const where = ['127.0.0.1', target.port, '', 0, 5000];
        if (keys.length > 0) await from.call('MIGRATE', ...where, ...user, 'KEYS', ...keys);
        return keys.length;
      },
      finish: async ({ quietly = false } = {}) => {
        const told = [to, from, ...this.#admins.values()];
        for (const admin of quietly ? [to, from] : new Set(told)) {
          await admin.call('CLUSTER', 'SETSLOT', slot, 'NODE', String(toId));
        }
      },
    };
  }
}
