/**
 * What becomes in Redis of the leases and waiters of pods that end: a pod told to end gets nothing new, and what a pod
 * leaves behind is taken back at once instead of when its leases run out. Its owners' names start with its uid.
 *
 * A pod that is gone for Kubernetes may still have a process that asks (a forced deletion, a lost node): it is marked
 * draining before anything is taken back, and stays marked for a while. A leader that ends within that while leaves the
 * mark behind, which Redis ends by itself ten minutes after nothing was left.
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
/** Calls of `reclaim` in one pass over a pod, each of a bounded size; other pods come in between. */
const MOST_ROUNDS = 4;
/** Longer than kubelets give a container to end. */
const MARK_STAYS_MS = 60_000;

export interface PodOwnersOptions {
  readonly engine: Pick<AdminEngine, 'reclaim' | 'drain'>;
  readonly world: { readonly current: CompiledWorld | null };
  readonly log: Log;
  readonly metrics: TreeMetrics;
}

interface Entry {
  readonly quota: string;
  state: PodState;
  /** What Redis was told so far; `gone`: nothing of it was left. */
  told: PodState;
  /** Redis gives it nothing new. */
  isMarked: boolean;
  /** The pod is not in the cache any more. */
  isDeleted: boolean;
  /** The tree in which its calls were counted when that was last known. */
  tree: TreeKey | null;
}

interface Placed {
  readonly tree: TreeKey;
  readonly uid: string;
  readonly entry: Entry;
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
    const entry = this.#entries.get(uid) ?? {
      quota,
      state,
      told: 'open',
      isMarked: false,
      isDeleted: false,
      tree: null,
    };
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
    const { tree } = entry;
    if (tree === null) {
      // Its quota is in no tree, or not yet compiled. Once the pod is deleted too, only its leases' end is left.
      if (entry.isDeleted) this.#entries.delete(uid);
      return entry.isDeleted ? DONE : { kind: 'again', afterMs: UNPLACED_MS };
    }
    const outcome = entry.state === 'gone' ? await this.#end({ tree, uid, entry }, signal) : DONE;
    if (entry.state === 'draining') {
      await this.#mark({ tree, uid, entry }, true, signal);
      entry.told = 'draining';
    }
    this.#forgetDeleted(uid, entry);
    return outcome;
  }

  /** Twice in the end: what came in with the mark, and what its process could still put back until the mark goes. */
  async #end(pod: Placed, signal: AbortSignal): Promise<Outcome> {
    const { tree, uid, entry } = pod;
    const isLast = entry.told === 'gone';
    if (!isLast) await this.#mark(pod, true, signal);
    if (!(await this.#takeBack(tree, uid, signal))) return { kind: 'again', afterMs: 0 };
    entry.told = 'gone';
    if (!isLast) return { kind: 'again', afterMs: MARK_STAYS_MS };
    await this.#mark(pod, false, signal);
    return DONE;
  }

  async #mark({ tree, uid, entry }: Placed, isMarked: boolean, signal: AbortSignal): Promise<void> {
    if (entry.isMarked !== isMarked) await this.#options.engine.drain(tree, uid, isMarked, signal);
    entry.isMarked = isMarked;
  }

  /** False: there may be more. What a pass took back stays so. */
  async #takeBack(tree: TreeKey, uid: string, signal: AbortSignal): Promise<boolean> {
    const { engine, metrics, log } = this.#options;
    for (let round = 0; round < MOST_ROUNDS; round++) {
      const ended = await engine.reclaim(tree, { prefix: `${uid}/`, except: null }, signal);
      if (ended.leases + ended.waiters === 0) return true;
      metrics.reclaimed.inc({ kind: 'lease' }, ended.leases);
      metrics.reclaimed.inc({ kind: 'waiter' }, ended.waiters);
      log.info('pod.reclaimed', { tree, uid, ...ended });
    }
    return false;
  }

  #forgetDeleted(uid: string, { isDeleted, told, isMarked }: Entry): void {
    if (isDeleted && told === 'gone' && !isMarked) this.#entries.delete(uid);
  }

  #treeOf(quota: string): TreeKey | null {
    const { current } = this.#options.world;
    const account = current?.quotas.get(quota)?.account ?? null;
    return account === null ? null : (current?.accounts.get(account)?.treeKey ?? null);
  }
}
