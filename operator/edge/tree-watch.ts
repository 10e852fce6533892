/** What Redis holds of the trees that are in use, asked again and again. */
import type { Clock } from '../../sidecar/base/clock.ts';
import { AppError } from '../../sidecar/base/errors.ts';
import type { Log } from '../../sidecar/base/log.ts';
import type { Revision, TreeKey } from '../../sidecar/engine/tree-terms.ts';
import type { TreeRevisions, TreeState } from './terms.ts';

export interface TreeWatchOptions {
  readonly revisions: TreeRevisions;
  /** Told when the state of any tree changed. */
  readonly onChange: () => void;
  /** Told, every few seconds, of a tree that Redis holds otherwise than compiled here. */
  readonly onDiffers: (key: TreeKey) => void;
  readonly clock: Clock;
  readonly log: Log;
}

/** Sidecars whose generation is behind get no grants: a written tree must be published soon. */
const HURRIED_MS = 50;
const STEADY_MS = 1_000;
/** Reading a large tree takes Redis a while: all reading together must stay a small part of its time. */
const REST_FACTOR = 20;
const MAX_REST_MS = 5_000;
/** How long a difference is taken for a change under way. */
const HURRY_FOR_MS = 5_000;

interface Watched {
  readonly key: TreeKey;
  readonly stop: AbortController;
  users: number;
  state: TreeState | null;
  /** Monotonic; null: no difference is known. */
  differsSinceMs: number | null;
  toldAtMs: number;
  wake: PromiseWithResolvers<void>;
}

export class TreeWatch implements Disposable {
  readonly #options: TreeWatchOptions;
  readonly #trees = new Map<TreeKey, Watched>();

  constructor(options: TreeWatchOptions) {
    this.#options = options;
  }

  /** The last state read; null: none yet, or Redis holds no such tree. The same object as long as nothing changed. */
  state(key: TreeKey): TreeState | null {
    return this.#trees.get(key)?.state ?? null;
  }

  /** Keeps the tree watched until disposed. */
  use(key: TreeKey): Disposable {
    const tree = this.#trees.get(key) ?? this.#start(key);
    tree.users++;
    return {
      [Symbol.dispose]: () => {
        if (--tree.users > 0) return;
        this.#trees.delete(key);
        tree.stop.abort();
      },
    };
  }

  /** States whether the tree, as compiled here, is the one in Redis. */
  compare(key: TreeKey, same: boolean): void {
    const tree = this.#trees.get(key);
    if (!tree || same === (tree.differsSinceMs === null)) return;
    tree.differsSinceMs = same ? null : this.#options.clock.monotonicMs();
    if (!same) tree.wake.resolve();
  }

  [Symbol.dispose](): void {
    for (const tree of this.#trees.values()) tree.stop.abort();
    this.#trees.clear();
  }

  #start(key: TreeKey): Watched {
    const tree: Watched = {
      key,
      stop: new AbortController(),
      users: 0,
      state: null,
      differsSinceMs: null,
      toldAtMs: Number.NEGATIVE_INFINITY,
      wake: Promise.withResolvers(),
    };
    this.#trees.set(key, tree);
    void this.#run(tree);
    return tree;
  }

  async #run(tree: Watched): Promise<void> {
    const { clock } = this.#options;
    const { signal } = tree.stop;
    while (!signal.aborted) {
      const askedAtMs = clock.monotonicMs();
      await this.#read(tree);
      const tookMs = clock.monotonicMs() - askedAtMs;
      this.#tellDifference(tree);
      const pause = new AbortController();
      const restMs = Math.max(
        this.#isHurried(tree) ? HURRIED_MS : STEADY_MS,
        Math.min(REST_FACTOR * tookMs, MAX_REST_MS),
      );
      const rest = clock.sleep(restMs, AbortSignal.any([signal, pause.signal]));
      tree.wake = Promise.withResolvers();
      await Promise.race([rest.catch(() => undefined), tree.wake.promise]);
      pause.abort();
    }
  }

  async #read(tree: Watched): Promise<void> {
    const { revisions, log, onChange } = this.#options;
    try {
      const state = await revisions.read(tree.key, tree.stop.signal);
      if (sameState(state, tree.state) || tree.stop.signal.aborted) return;
      tree.state = state;
      onChange();
    } catch (reason) {
      // While Redis is away nothing is known to have changed: what was published stays.
      if (tree.stop.signal.aborted) return;
      log.warn('edge.treeUnread', { tree: tree.key, cause: AppError.from(reason).message });
    }
  }

  #isHurried(tree: Watched): boolean {
    return tree.differsSinceMs !== null && this.#options.clock.monotonicMs() - tree.differsSinceMs < HURRY_FOR_MS;
  }

  #tellDifference(tree: Watched): void {
    const nowMs = this.#options.clock.monotonicMs();
    if (tree.differsSinceMs === null || this.#isHurried(tree) || nowMs - tree.toldAtMs < HURRY_FOR_MS) return;
    tree.toldAtMs = nowMs;
    this.#options.onDiffers(tree.key);
  }
}

function sameState(a: TreeState | null, b: TreeState | null): boolean {
  if (a === null || b === null) return a === b;
  return a.configHash === b.configHash && sameRevision(a.revision, b.revision);
}

function sameRevision(a: Revision, b: Revision): boolean {
  return a.leaseCreatedMs === b.leaseCreatedMs && a.transitions === b.transitions && a.generation === b.generation;
}
