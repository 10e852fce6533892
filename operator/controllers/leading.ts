/** Everything that runs while this process leads: one controller per kind, each fed by what it depends on. */
import { isDeepStrictEqual } from 'node:util';
import type { AgentPool } from '../api/v1alpha1/agentpool.ts';
import { ANNOTATION_MOVE, ANNOTATION_RESET } from '../api/v1alpha1/labels.ts';
import type { NodeStatus, PoolStatus } from '../api/v1alpha1/status.ts';
import type { KubeClient } from '../runtime/client.ts';
import { Controller, type Reconcile } from '../runtime/controller.ts';
import type { EventRecorder } from '../runtime/events.ts';
import type { Term } from '../runtime/leader.ts';
import type { RuntimeMetrics } from '../runtime/metrics.ts';
import type { ResourceType } from '../runtime/resources.ts';
import type { QueueLimits } from '../runtime/work-queue.ts';
import type { Store, Stored } from '../runtime/store.ts';
import type { Clock } from '../../sidecar/base/clock.ts';
import type { Log } from '../../sidecar/base/log.ts';
import type { AdminEngine } from '../../sidecar/engine/port.ts';
import type { RedisServers } from '../../sidecar/engine/servers.ts';
import type { TreeConfig } from '../../sidecar/engine/tree-terms.ts';
import { type ObservedDeployment, decidePoolWrite, PoolReconciler } from './agentpool/reconcile.ts';
import { Checkpoints } from './checkpoints/checkpoints.ts';
import type { CheckpointPlace } from './checkpoints/secrets.ts';
import { AccountStatus } from './glmaccount/status.ts';
import { TreeSync } from './glmaccount/reconcile.ts';
import { tickTrees } from './glmaccount/ticker.ts';
import { PlannedMoves } from './glmaccount/planned-moves.ts';
import { rotateUser } from './glmaccount/rotation.ts';
import { Upkeep } from './glmaccount/upkeep.ts';
import { CatalogReconciler, decideCatalogWrite } from './glmcatalog/reconcile.ts';
import type { CatalogStatus } from './glmcatalog/plan.ts';
import type { ShippedCatalog } from './glmcatalog/shipped.ts';
import { quotasConcerned } from './glmquota/fan-out.ts';
import { QuotaStatus } from './glmquota/status.ts';
import type { TreeMetrics } from './metrics.ts';
import { decideNodeWrite } from './node-status/damping.ts';
import { NodeReports } from './node-status/reports.ts';
import { SyncBoard } from './node-status/sync-state.ts';
import type { ObservedPod } from './pods/observe.ts';
import { PodOwners } from './pods/owners.ts';
import { StatusWriter, type StatusWriterOptions } from './status/writer.ts';
import type { OurCaches } from './world/caches.ts';
import { DifferenceFinder } from './world/differences.ts';
import { AGENT_POOLS, GLM_ACCOUNTS, GLM_CATALOGS, GLM_QUOTAS, type Observed } from './world/kinds.ts';
import { TreeHashes } from './world/tree-hashes.ts';
import type { World } from './world/world.ts';
import { DEFAULT_CATALOG } from '../api/v1alpha1/glmcatalog.ts';

/** Names of the controllers, as metrics and logs show them. */
export const CONTROLLERS = ['tree', 'glmaccount', 'glmquota', 'glmcatalog', 'agentpool', 'pod'] as const;
type ControllerName = (typeof CONTROLLERS)[number];

const FIELD_MANAGER = 'glmquota-status';
/** Redis is asked again soon enough that a lost tree is back within ten seconds. */
const TREE_LIMITS: Partial<QueueLimits> = { firstDelayMs: 50, mostDelayMs: 3000, perSecond: 100 };
/** A status that lost a race is written again at once; a thousand of them may. */
const STATUS_LIMITS: Partial<QueueLimits> = { firstDelayMs: 20, mostDelayMs: 60_000, perSecond: 200, burst: 1000 };

export interface LeadingOptions {
  readonly client: KubeClient;
  readonly engine: Omit<AdminEngine, 'loadLibrary'>;
  /** Of Redis; null: somebody else looks after them. */
  readonly servers: Pick<RedisServers, 'list'> | null;
  /** Each account's sidecars have a user of their own there, which follows the account's annotation. */
  readonly hasTreeUsers: boolean;
  readonly world: World;
  readonly caches: OurCaches;
  readonly pools: Store<Observed<AgentPool>>;
  readonly deployments: Store<ObservedDeployment>;
  /** Those with our sidecar. */
  readonly pods: Store<ObservedPod>;
  /** Where the trees' checkpoints are: namespace, and what stands before a tree's key in a Secret's name. */
  readonly checkpoints: Pick<CheckpointPlace, 'namespace' | 'prefix'>;
  readonly treeMetrics: TreeMetrics;
  readonly shipped: ShippedCatalog;
  readonly recorder: EventRecorder;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics?: RuntimeMetrics;
  /** The queues of a leader, while it leads: their gauges age between reads. */
  readonly queues: Set<Controller['queue']>;
}

/** Runs all controllers until the signal aborts (they end what is under way) or the term is lost (they stop at once). */
export async function lead(options: LeadingOptions, term: Term, signal: AbortSignal): Promise<void> {
  const leadership = new Leadership(options, term);
  using _subscriptions = leadership.connect();
  const controllers = leadership.controllers.map((controller) => controller.run(signal, term.lost));
  await Promise.all([...controllers, leadership.tick(AbortSignal.any([signal, term.lost]))]);
}

class Leadership {
  readonly #options: LeadingOptions;
  readonly #board = new SyncBoard();
  readonly #differences = new DifferenceFinder();
  readonly #reports: { readonly account: NodeReports; readonly quota: NodeReports };
  readonly #poolWriter: StatusWriter<PoolStatus>;
  readonly #quotas: QuotaStatus;
  readonly #pool: PoolReconciler;
  readonly #owners: PodOwners;
  readonly #moves: PlannedMoves;
  readonly #queues: Readonly<Record<ControllerName, Controller['queue']>>;
  /** Labels of a namespace changed since the last compilation, which follows such a change. */
  #isRelabelled = false;
  readonly controllers: readonly Controller[];

  constructor(options: LeadingOptions, term: Term) {
    this.#options = options;
    const { engine, world, caches, pools, deployments, shipped, client, clock, log } = options;
    const board = this.#board;
    const hashes = new TreeHashes(engine);
    this.#reports = { account: this.#nodeReports(GLM_ACCOUNTS), quota: this.#nodeReports(GLM_QUOTAS) };
    this.#owners = new PodOwners({ engine, world, log, metrics: options.treeMetrics });
    const { recorder, servers } = options;
    this.#moves = new PlannedMoves({ engine, servers, recorder, clock });
    const trees = this.#treeSync(hashes, term);
    const shared = { world, board, hashes };
    const accounts = new AccountStatus({
      ...shared,
      client,
      accounts: caches.accounts,
      reports: this.#reports.account,
      moves: this.#moves,
    });
    this.#quotas = new QuotaStatus({ ...shared, quotas: caches.quotas, reports: this.#reports.quota });
    const { catalogs } = caches;
    const catalog = new CatalogReconciler({ client, catalogs, shipped, writer: this.#catalogWriter(), clock, log });
    const namespaces = () =>
      new Map(Array.from(caches.namespaces.entries(), ({ key, value }) => [key, value.labels] as const));
    // Pods that get ready tell of it themselves.
    const writer = this.#writer<PoolStatus>({ type: AGENT_POOLS, decide: decidePoolWrite, events: {} });
    this.#poolWriter = writer;
    this.#pool = new PoolReconciler({ client, world, pools, deployments, namespaces, writer, clock });
    const made = {
      tree: this.#controller('tree', (id, each) => trees.reconcile(id, each), TREE_LIMITS),
      glmaccount: this.#controller('glmaccount', (id, each) => accounts.reconcile(id, each), STATUS_LIMITS),
      glmquota: this.#controller('glmquota', (id, each) => this.#quotas.reconcile(id, each), STATUS_LIMITS),
      glmcatalog: this.#controller('glmcatalog', (id, each) => catalog.reconcile(id, each), {}),
      agentpool: this.#controller('agentpool', (id, each) => this.#pool.reconcile(id, each), STATUS_LIMITS),
      pod: this.#controller('pod', (uid, each) => this.#owners.reconcile(uid, each), TREE_LIMITS),
    };
    this.controllers = Object.values(made);
    this.#queues = {
      tree: made.tree.queue,
      glmaccount: made.glmaccount.queue,
      glmquota: made.glmquota.queue,
      glmcatalog: made.glmcatalog.queue,
      agentpool: made.agentpool.queue,
      pod: made.pod.queue,
    };
  }

  /** Until the signal aborts. */
  async tick(signal: AbortSignal): Promise<void> {
    const { engine, clock, log } = this.#options;
    await tickTrees({ board: this.#board, engine, clock, log }, signal);
  }

  /** Feeds the queues until disposed of. */
  connect(): DisposableStack {
    const { world, caches, pools, deployments } = this.#options;
    const stack = new DisposableStack();
    for (const queue of Object.values(this.#queues)) {
      this.#options.queues.add(queue);
      stack.defer(() => this.#options.queues.delete(queue));
    }
    stack.use(world.subscribe(() => this.#worldChanged()));
    stack.use(this.#board.subscribe((account, before) => this.#treeChanged(account, before)));
    stack.use(caches.catalogs.subscribe(() => this.#catalogsChanged()));
    stack.use(
      pools.subscribe((change) => {
        const { key, uid } = change.kind === 'deleted' ? change.previous : change.current;
        if (change.kind === 'deleted') this.#poolWriter.forget(uid);
        this.#queues.agentpool.add(key);
      }),
    );
    stack.use(
      deployments.subscribe((change) => {
        if (change.kind === 'deleted') this.#pool.deploymentGone(change.previous.value.owner ?? '');
        this.#queues.agentpool.add(change.kind === 'deleted' ? change.previous.key : change.current.key);
      }),
    );
    stack.use(
      this.#options.pods.subscribe((change) => {
        const uid = this.#owners.note(change);
        if (uid !== null) this.#queues.pod.add(uid);
      }),
    );
    stack.use(
      caches.namespaces.subscribe((change) => {
        const isSame =
          change.kind === 'updated' && isDeepStrictEqual(change.previous.value.labels, change.current.value.labels);
        if (!isSame) this.#isRelabelled = true;
      }),
    );
    stack.use(this.#followObjects(caches.accounts, 'account'));
    stack.use(this.#followObjects(caches.quotas, 'quota'));
    this.#worldChanged();
    this.#catalogsChanged();
    return stack;
  }

  #worldChanged(): void {
    const { accounts, quotas } = this.#differences.next(this.#options.world);
    for (const id of accounts) {
      this.#queues.tree.add(id);
      this.#queues.glmaccount.add(id);
    }
    for (const id of quotas) this.#queues.glmquota.add(id);
    // Grants may have come or gone: by a spec, or by the labels that a selector asks for.
    if (accounts.length + quotas.length > 0 || this.#isRelabelled)
      for (const id of this.#options.pools.keys()) this.#queues.agentpool.add(id);
    this.#isRelabelled = false;
  }

  #treeChanged(account: string, before: Parameters<typeof quotasConcerned>[2]['before']): void {
    const after = this.#board.get(account);
    const { current } = this.#options.world;
    if (after === undefined || current === null) return;
    this.#queues.glmaccount.add(account);
    for (const id of quotasConcerned(current, account, { before, after })) this.#queues.glmquota.add(id);
    for (const id of this.#quotas.takeWaiting(account)) this.#queues.glmquota.add(id);
  }

  /** A deed that is asked for by an annotation changes no spec, so that the world does not hear of it. */
  #followObjects<T>(store: Store<Observed<T>>, kind: 'account' | 'quota'): Disposable {
    const requestsOf = ({ value }: Stored<Observed<T>>): readonly (string | undefined)[] =>
      [ANNOTATION_RESET, ANNOTATION_MOVE].map((name) => value.annotations[name]);
    return store.subscribe((change) => {
      if (change.kind === 'deleted') {
        this.#reports[kind].forget(change.previous.uid);
        this.#moves.forget(change.previous.uid);
      }
      if (change.kind === 'updated' && !isDeepStrictEqual(requestsOf(change.current), requestsOf(change.previous)))
        this.#queues[`glm${kind}`].add(change.current.key);
    });
  }

  /** All of them: most extend the default one. */
  #catalogsChanged(): void {
    for (const name of new Set([DEFAULT_CATALOG, ...this.#options.caches.catalogs.keys()])) {
      this.#queues.glmcatalog.add(name);
    }
  }

  #treeSync(hashes: TreeHashes, term: Term): TreeSync {
    const { world, engine, caches, client, recorder, clock, log, treeMetrics: metrics } = this.#options;
    const checkpoints = new Checkpoints({ ...this.#options.checkpoints, client, clock, log, metrics });
    const rotate = (account: TreeConfig['account'], signal: AbortSignal): Promise<void> =>
      rotateUser({ client, clock, log }, account, signal);
    const shared = { engine, hashes, recorder, clock, log, metrics };
    const upkeep = new Upkeep({ ...shared, rotate: this.#options.hasTreeUsers ? rotate : null });
    const wasInForce = (id: string): boolean => isInForce(caches.accounts.get(id)?.status);
    return new TreeSync({
      world,
      engine,
      hashes,
      term,
      board: this.#board,
      clock,
      log,
      checkpoints,
      upkeep,
      wasInForce,
    });
  }

  #nodeReports(type: ResourceType): NodeReports {
    const { engine, recorder, clock } = this.#options;
    const events = { Ready: 'True', Overcommitted: 'False' } as const;
    const writer = this.#writer<NodeStatus>({ type, decide: decideNodeWrite, events });
    return new NodeReports({ type, writer, engine, recorder, clock });
  }

  #catalogWriter(): StatusWriter<CatalogStatus> {
    const events = { Ready: 'True' } as const;
    return this.#writer<CatalogStatus>({ type: GLM_CATALOGS, decide: decideCatalogWrite, events });
  }

  #writer<Status extends PoolStatus | NodeStatus | CatalogStatus>(
    kind: Pick<StatusWriterOptions<Status>, 'type' | 'decide' | 'events'>,
  ): StatusWriter<Status> {
    const { client, recorder, clock } = this.#options;
    return new StatusWriter<Status>({ client, recorder, clock, fieldManager: FIELD_MANAGER, ...kind });
  }

  #controller(name: ControllerName, reconcile: Reconcile, limits: Partial<QueueLimits>): Controller {
    const { clock, log, metrics } = this.#options;
    return new Controller({ name, reconcile, clock, log, limits, concurrency: 8, ...(metrics && { metrics }) });
  }
}

/** A status that names a revision was written when Redis held the tree. */
function isInForce(status: unknown): boolean {
  return typeof status === 'object' && status !== null && 'revision' in status;
}
