/**
 * What becomes in Redis of the leases and waiters of pods that end: a pod told to end gets nothing new, and what a pod
 * leaves behind is taken back at once instead of when its leases run out. Its owners' names start with its uid.
 */
import { DONE, type Outcome } from '../../runtime/controller.ts';
import type { Change } from '../../runtime/store.ts';
import type { CompiledWorld } from '../../trees/terms.ts';
import type { Log } from '../../../sidecar/base/log.ts';
import type { AdminEngine } from '../../../sidecar/engine/port.ts';
import type { TreeKey } from '../../../sidecar/engine/tree-terms.ts';
import type { TreeMetrics } from '../metrics.ts';
import type { ObservedPod, PodState } from './observe.ts';

const UNPLACED_MS = 5000;

export interface PodOwnersOptions {
  readonly engine: Pick<AdminEngine, 'reclaim' | 'drain'>;
  readonly world: { readonly current: CompiledWorld | null };
  readonly log: Log;
  readonly metrics: TreeMetrics;
}

interface Entry {
  readonly quota: string;
  state: PodState;
  /** What Redis was told so far. */
  told: PodState;
  /** The pod is not in the cache any more. */
  isDeleted: boolean;
  /** The tree in which its calls were counted when that was last known. */
  tree: TreeKey | null;
}

export class PodOwners {
  readonly #options: PodOwnersOptions;
  readonly #entries = new Map<string, Entry>();

  constructor(options: PodOwnersOptions) {
    this.#options = options;
  }

  /** Takes note; answers the uid when there is something to do for it. */
  note(change: Change<ObservedPod>): string | null {
    const { uid, quota, state } = (change.kind === 'deleted' ? change.previous : change.current).value;
    const entry = this.#entries.get(uid) ?? { quota, state, told: 'open', isDeleted: false, tree: null };
    entry.isDeleted = change.kind === 'deleted';
    entry.state = entry.isDeleted ? 'gone' : state;
    entry.tree = this.#treeOf(quota) ?? entry.tree;
    if (entry.state === entry.told) this.#forgetDeleted(uid, entry);
    else this.#entries.set(uid, entry);
    return entry.state === entry.told ? null : uid;
  }

  /** Brings Redis up to date with the pod of this uid. Fails when Redis cannot be asked. */
  async reconcile(uid: string, signal: AbortSignal): Promise<Outcome> {
    const entry = this.#entries.get(uid);
    if (entry === undefined) return DONE;
    entry.tree = this.#treeOf(entry.quota) ?? entry.tree;
    const { state, tree } = entry;
    if (tree === null) {
      // Its quota is in no tree, or not yet compiled. Once the pod is deleted too, only its leases' end is left.
      if (entry.isDeleted) this.#entries.delete(uid);
      return entry.isDeleted ? DONE : { kind: 'again', afterMs: UNPLACED_MS };
    }
    if (state !== entry.told) {
      if (state === 'gone') await this.#takeBack(tree, uid, signal);
      // A pod that is gone asks for nothing any more; its mark would stay for ever.
      if (state === 'draining' || entry.told === 'draining')
        await this.#options.engine.drain(tree, uid, state === 'draining', signal);
      entry.told = state;
    }
    this.#forgetDeleted(uid, entry);
    return DONE;
  }

  async #takeBack(tree: TreeKey, uid: string, signal: AbortSignal): Promise<void> {
    const { engine, metrics, log } = this.#options;
    const total = { leases: 0, waiters: 0 };
    for (;;) {
      const ended = await engine.reclaim(tree, { prefix: `${uid}/`, except: null }, signal);
      if (ended.leases + ended.waiters === 0) break;
      total.leases += ended.leases;
      total.waiters += ended.waiters;
      metrics.reclaimed.inc({ kind: 'lease' }, ended.leases);
      metrics.reclaimed.inc({ kind: 'waiter' }, ended.waiters);
    }
    if (total.leases + total.waiters > 0) log.info('pod.reclaimed', { tree, uid, ...total });
  }

  #forgetDeleted(uid: string, { isDeleted, told }: Entry): void {
    if (isDeleted && told === 'gone') this.#entries.delete(uid);
  }

  #treeOf(quota: string): TreeKey | null {
    const { current } = this.#options.world;
    const account = current?.quotas.get(quota)?.account ?? null;
    return account === null ? null : (current?.accounts.get(account)?.treeKey ?? null);
  }
}
