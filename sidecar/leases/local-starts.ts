/** Calls that start without Redis, as far as the quota's policy goes (rule F4): what is known, and what was spent. */
import type { Clock } from '../base/clock.ts';
import { jitter, newId } from '../base/ids.ts';
import type { Log } from '../base/log.ts';
import type { StoreFailurePolicy } from '../control/terms.ts';
import type { AcquireRequest, NodeSnapshot, TreeSnapshot } from '../engine/terms.ts';
import type { Amounts, NodeName } from '../engine/tree-terms.ts';
import { decideLocal, GRACE_MS, type LocalDecision } from './degrade.ts';
import { type Lease, localLeaseOf } from './lease-state.ts';
import type { SidecarMetrics } from './metrics.ts';
import { NO_AMOUNTS, plus } from './tally.ts';
import type { TreeCall } from './tree-call.ts';
import type { TreeView } from './tree-view.ts';

export interface LocalStartsOptions {
  readonly view: TreeView;
  /** All that this process holds. */
  readonly leases: ReadonlyMap<string, Lease>;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: SidecarMetrics;
}

const MODEL_NODE = 'model:';
const OTHER_MODELS = 'model:other';
/** How old what is known of the limits may get while Redis is there. */
const LOOK_EVERY_MS = 30_000;

type Binding = TreeCall['binding'];

interface Look {
  readonly atMs: number;
  /** Of the path, and of all models. */
  readonly nodes: ReadonlyMap<NodeName, NodeSnapshot>;
}

interface Outage {
  /** This process' luck where its share is below one. */
  readonly luck: number;
  started: number;
  isOver: boolean;
}

export class LocalStarts {
  readonly #options: LocalStartsOptions;
  /** Of the last call. */
  #binding: Binding | null = null;
  #look: Look | null = null;
  /** Since the look. */
  #spent: Amounts = NO_AMOUNTS;
  #outage: Outage | null = null;

  constructor(options: LocalStartsOptions) {
    this.#options = options;
  }

  /** The limits should be read again, in case Redis goes away. */
  get needsLook(): boolean {
    if (this.#binding === null || policyOf(this.#binding).policy !== 'LocalShare') return false;
    return this.#look === null || this.#options.clock.monotonicMs() - this.#look.atMs >= LOOK_EVERY_MS;
  }

  /** What Redis has of the tree, read now. */
  look(tree: TreeSnapshot): void {
    const path = new Set(this.#binding?.path);
    const nodes = tree.nodes.filter(({ name }) => path.has(name) || name.startsWith(MODEL_NODE));
    this.#look = { atMs: this.#options.clock.monotonicMs(), nodes: new Map(nodes.map((node) => [node.name, node])) };
    this.#spent = NO_AMOUNTS;
  }

  began(lease: Lease, binding: Binding): void {
    this.#binding = binding;
    if (this.#look !== null) this.#spent = plus(this.#spent, lease.request.reserve);
  }

  ended(lease: Lease, actual: Amounts): void {
    // An older lease's reserve was part of what was read.
    if (this.#look === null || lease.answeredAtMs < this.#look.atMs) return;
    this.#spent = plus(plus(this.#spent, actual), lease.request.reserve, -1);
  }

  /** Whether calls could start although Redis has been away for so long. */
  mayStart(downForMs: number): boolean {
    if (this.#binding === null) return false;
    const { policy, maxDurationMs } = policyOf(this.#binding);
    return policy !== 'Closed' && downForMs >= GRACE_MS && downForMs < maxDurationMs;
  }

  /** A lease of this process' own making; null: the call has to wait for Redis, or for a call to end. */
  tryStart(call: TreeCall, request: AcquireRequest, downForMs: number): Lease | null {
    const { clock, metrics, view } = this.#options;
    if (downForMs < GRACE_MS) return null;
    this.#outage ??= this.#begin(call.binding);
    const decision = this.#decide(call, downForMs);
    if (decision === 'closed') this.#noteOver(this.#outage, call.binding, downForMs);
    if (decision !== 'start') return null;
    const { policy } = policyOf(call.binding);
    this.#outage.started += 1;
    metrics.localGrant(policy);
    // Redis may have granted the id it was asked for, or may yet.
    const fresh = { ...request, id: newId() };
    return localLeaseOf(fresh, { epoch: view.epoch ?? 0, ttlMs: view.ttlMs, atMs: clock.monotonicMs() });
  }

  /** Redis answers again. */
  back(downForMs: number): void {
    if (this.#outage === null) return;
    this.#options.log.warn('store.back', { downForMs: Math.round(downForMs), localGrants: this.#outage.started });
    this.#outage = null;
  }

  #decide({ ask, binding }: TreeCall, downForMs: number): LocalDecision {
    const { clock, leases, view } = this.#options;
    this.#binding = binding;
    const modelNode = this.#modelNode(ask.model);
    return decideLocal(policyOf(binding), downForMs, ask.reserve, {
      nodes: this.#nodesOf([...binding.path, modelNode]),
      owners: view.owners,
      luck: this.#outage?.luck ?? 0,
      running: (node) =>
        node === modelNode
          ? [...leases.values()].filter((each) => this.#modelNode(each.request.model) === node).length
          : leases.size,
      spent: this.#spent,
      nowMs: clock.nowMs(),
    });
  }

  #modelNode(model: string): NodeName {
    const own = MODEL_NODE + model;
    return this.#look?.nodes.has(own) === true ? own : OTHER_MODELS;
  }

  /** Null: some of them are not known. */
  #nodesOf(names: readonly NodeName[]): readonly NodeSnapshot[] | null {
    const nodes = names.flatMap((name) => this.#look?.nodes.get(name) ?? []);
    return nodes.length === names.length ? nodes : null;
  }

  #begin(binding: Binding): Outage {
    const { log, metrics, view } = this.#options;
    const { policy, maxDurationMs, localSharePercent } = policyOf(binding);
    metrics.outage(policy);
    log.warn('store.outage', { policy, localSharePercent, maxDurationMs, owners: view.owners });
    return { luck: jitter(), started: 0, isOver: false };
  }

  /** Says once that the policy's time is over. */
  #noteOver(outage: Outage, binding: Binding, downForMs: number): void {
    const { policy, maxDurationMs } = policyOf(binding);
    if (outage.isOver || policy === 'Closed' || downForMs < maxDurationMs) return;
    outage.isOver = true;
    this.#options.log.error('store.outageTooLong', { policy, maxDurationMs, localGrants: outage.started });
  }
}

const CLOSED: StoreFailurePolicy = { policy: 'Closed', localSharePercent: 0, maxDurationMs: 0 };

/** A strict quota starts nothing that no replica has confirmed. */
function policyOf({ durability, onStoreFailure }: Binding): StoreFailurePolicy {
  return durability === 'Strict' ? CLOSED : onStoreFailure;
}
