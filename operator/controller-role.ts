/** The role `controller`: warm caches on every replica, work in the leader only. */
import { isDeepStrictEqual } from 'node:util';
import type { Registry } from 'prom-client';
import type { Clock } from '../sidecar/base/clock.ts';
import { AppError } from '../sidecar/base/errors.ts';
import type { Log } from '../sidecar/base/log.ts';
import type { AdminEngine } from '../sidecar/engine/port.ts';
import type { TreeKey } from '../sidecar/engine/tree-terms.ts';
import { parseAgentPool } from './api/v1alpha1/agentpool.ts';
import { LABEL_POOL } from './api/v1alpha1/labels.ts';
import { observeDeployment } from './controllers/agentpool/reconcile.ts';
import type { ShippedCatalog } from './controllers/glmcatalog/shipped.ts';
import { KeptEngine } from './controllers/kept-engine.ts';
import { CONTROLLERS, lead } from './controllers/leading.ts';
import { createTreeMetrics } from './controllers/metrics.ts';
import { observePod } from './controllers/pods/observe.ts';
import { credentialFactsOf, feedWorld, openCaches, type OurCaches, watchResource } from './controllers/world/caches.ts';
import { AGENT_POOLS, DEPLOYMENTS, observe, PODS } from './controllers/world/kinds.ts';
import { World } from './controllers/world/world.ts';
import { KubeClient } from './runtime/client.ts';
import { RedisKeeper, type RedisKeeperOptions } from './redis-keeper.ts';
import type { Connection } from './runtime/connection.ts';
import { EventRecorder } from './runtime/events.ts';
import { startHealth } from './runtime/health.ts';
import { LeaderElection, type LeaderTimings } from './runtime/leader.ts';
import { createRuntimeMetrics } from './runtime/metrics.ts';
import type { Reflector } from './runtime/reflector.ts';
import type { WorkQueue } from './runtime/work-queue.ts';
import { createCalendar } from './trees/calendar.ts';
import { type Rotation, rotationOf } from './tree-users.ts';
import { LABEL_INJECTED } from './webhook/patch.ts';

/** A cache that heard nothing for this long is stuck for good: watches and lists answer every few minutes at least. */
const STUCK_MS = 15 * 60_000;
const RESOURCES = [
  'glmaccounts',
  'glmquotas',
  'glmcatalogs',
  'agentpools',
  'secrets',
  'namespaces',
  'deployments',
  'pods',
];

export interface ControllerRoleOptions {
  /** Its own for the lease, so that renewing never waits behind other calls. */
  readonly connection: Connection;
  readonly leaseConnection: Connection;
  readonly engine: AdminEngine;
  /** What the leader keeps on Redis' servers; null: somebody else does. */
  readonly redis: Pick<RedisKeeperOptions, 'servers' | 'usersKey'> | null;
  /** Whether Redis answers. */
  readonly ping: (signal: AbortSignal) => Promise<void>;
  readonly lease: { readonly namespace: string; readonly name: string };
  readonly leaderTimings?: Partial<LeaderTimings>;
  /** Before a tree's key in the name of its checkpoint, a Secret beside the lease. */
  readonly checkpointPrefix: string;
  readonly podName: string;
  readonly userAgent: string;
  readonly allowedOrigins: readonly string[];
  readonly shipped: ShippedCatalog;
  readonly health: { readonly host: string; readonly port: number };
  readonly clock: Clock;
  readonly log: Log;
  readonly registry: Registry;
}

/**
 * Runs until the signal aborts: then what is under way ends, the lease is released and events are flushed. Fails when
 * the leadership is lost, after everything stopped: the process is to end and start anew.
 */
export async function runControllerRole(options: ControllerRoleOptions, signal: AbortSignal): Promise<void> {
  const { clock, log, registry, userAgent, connection, lease, podName } = options;
  const names = { controllers: CONTROLLERS, resources: RESOURCES, leases: [lease.name] };
  const metrics = createRuntimeMetrics(registry, names);
  const treeMetrics = createTreeMetrics(registry);
  const client = new KubeClient({ connection, clock, log, userAgent, metrics });
  const leaseClient = new KubeClient({ connection: options.leaseConnection, clock, log, userAgent, metrics });
  const cacheOptions = { client, clock, log, metrics };
  const { caches, reflectors: ours } = openCaches(cacheOptions, credentialFactsOf);
  const pools = watchResource(cacheOptions, AGENT_POOLS, observe(parseAgentPool));
  const deployments = watchResource(cacheOptions, DEPLOYMENTS, observeDeployment, { labelSelector: LABEL_POOL });
  const pods = watchResource(cacheOptions, PODS, observePod, { labelSelector: LABEL_INJECTED });
  const reflectors = [...ours, pools.reflector, deployments.reflector, pods.reflector];
  const stores = [...Object.values(caches), pools.store, deployments.store, pods.store];
  const queues = new Set<WorkQueue>();
  const engine = new KeptEngine(options.engine);
  const world = new World({
    caches,
    allowedOrigins: options.allowedOrigins,
    operatorNamespace: lease.namespace,
    calendar: createCalendar(),
    clock,
    log,
    recall: (key, each) => engine.config(key, each),
  });

  // Caches outlive the controllers: what ends under way still reads them.
  const background = new AbortController();
  feedWorld(world, caches, background.signal);
  const running = [...reflectors.map((each) => each.run(background.signal)), world.run(background.signal)];
  await using health = await startHealth({
    ...options.health,
    live: { caches: () => assertHeard(reflectors) },
    ready: {
      caches: () => assertSynced(stores),
      redis: (each) => options.ping(each),
    },
    registry,
    observe: () => {
      for (const store of stores) metrics.storeObjects.set({ resource: store.name }, store.size);
      for (const queue of queues) queue.observe();
    },
    clock,
  });
  const recorder = new EventRecorder({ client, clock, log, controller: 'glmquota.io/controller', instance: podName });
  const election = new LeaderElection({
    client: leaseClient,
    lease,
    clock,
    log,
    metrics,
    identityPrefix: podName,
    ...(options.leaderTimings && { timings: options.leaderTimings }),
  });
  log.info('controller.started', { identity: election.identity, healthPort: health.port });
  try {
    await election.run(signal, async (term) => {
      const either = AbortSignal.any([signal, term.lost]);
      const synced = await Promise.all(stores.map((store) => store.waitSynced(either))).catch(() => null);
      if (synced === null) return;
      const resources = { caches, pools: pools.store, deployments: deployments.store, pods: pods.store };
      const checkpoints = { namespace: lease.namespace, prefix: options.checkpointPrefix };
      const servers = options.redis?.servers ?? null;
      const parts = {
        ...resources,
        client,
        engine,
        servers,
        hasTreeUsers: options.redis?.usersKey !== null,
        world,
        checkpoints,
        treeMetrics,
        shipped: options.shipped,
      };
      await Promise.all([
        lead({ ...parts, recorder, clock, log, metrics, queues }, term, signal),
        keepRedis(options, { world, accounts: caches.accounts }, either),
      ]);
    });
  } finally {
    health.drain();
    background.abort();
    await Promise.all(running);
    await recorder.flush();
    log.info('controller.stopped');
  }
}

async function keepRedis(
  { redis, clock, log }: ControllerRoleOptions,
  { world, accounts }: { readonly world: World; readonly accounts: OurCaches['accounts'] },
  signal: AbortSignal,
): Promise<void> {
  if (redis === null) return;
  let trees: ReadonlyMap<TreeKey, Rotation> | null = null;
  const keeper = new RedisKeeper({ ...redis, trees: () => trees, clock, log });
  const look = (): void => {
    const before = trees;
    const compiled = world.current?.accounts ?? [];
    const now = Array.from(compiled, ([id, { treeKey }]) => [treeKey, rotationOf(accounts.get(id))] as const);
    trees = world.current && new Map(now);
    if (!isDeepStrictEqual(before, trees)) keeper.touch();
  };
  using _compilations = world.subscribe(look);
  look();
  await keeper.run(signal);
}

function assertHeard(reflectors: readonly Reflector[]): void {
  const silentMs = Math.max(...reflectors.map((each) => each.silentMs));
  if (silentMs > STUCK_MS) throw new AppError('unavailable', `a cache heard nothing for ${Math.round(silentMs)} ms`);
}

function assertSynced(stores: readonly { readonly name: string; readonly hasSynced: boolean }[]): void {
  const missing = stores.filter((store) => !store.hasSynced).map((store) => store.name);
  if (missing.length > 0) throw new AppError('unavailable', `not synced: ${missing.join(', ')}`);
}
