/**
 * Everything our objects say, compiled: kept up to date with the caches, in one place for controllers, edge and
 * webhook. Compiling is pure and of everything at once; this decides when, and remembers what was in force before.
 */
import type { Catalog } from '../../../sidecar/catalog/terms.ts';
import type { TreeConfig, TreeKey } from '../../../sidecar/engine/tree-terms.ts';
import type { Clock } from '../../../sidecar/base/clock.ts';
import { AppError } from '../../../sidecar/base/errors.ts';
import type { Log } from '../../../sidecar/base/log.ts';
import type { Calendar } from '../../trees/calendar.ts';
import { compileTrees } from '../../trees/compile.ts';
import type { CompiledWorld } from '../../trees/terms.ts';
import { gatherInput, type NodeKind, type ObjectVersion, versionKey, versionsOf, type WorldCaches } from './gather.ts';

/** Changes that come together are compiled together. */
const SETTLE_MS = 20;
/** Compiling takes at most a third of the time when changes never end. */
const REST_FACTOR = 2;
const RECALL_RETRY_MS = 1000;

export interface WorldOptions {
  readonly caches: WorldCaches;
  readonly allowedOrigins: readonly string[];
  /** The operator's own: only its quotas may be of class System. */
  readonly operatorNamespace: string;
  readonly calendar: Calendar;
  readonly clock: Clock;
  readonly log: Log;
  /**
   * The tree that is in force in Redis, null when there is none. Asked once per tree before it counts as known: an
   * object whose spec went bad while we did not look keeps the limits it has there.
   */
  readonly recall: (key: TreeKey, signal: AbortSignal) => Promise<TreeConfig | null>;
}

export type WorldListener = (world: CompiledWorld) => void;

export class World {
  readonly #options: WorldOptions;
  readonly #listeners = new Set<WorldListener>();
  readonly #previous = new Map<TreeKey, TreeConfig>();
  readonly #recalled = new Set<TreeKey>();
  readonly #recalling = new Set<TreeKey>();
  /** What of `#recalled` the current compilation knew: an answer that came after it changes nothing yet. */
  #known: Set<TreeKey> = new Set();
  #catalogs: ReadonlyMap<string, Catalog> = new Map();
  #versions: ReadonlyMap<string, ObjectVersion> = new Map();
  #current: CompiledWorld | null = null;
  #wake = Promise.withResolvers<void>();
  #dirty = true;

  constructor(options: WorldOptions) {
    this.#options = options;
  }

  /** Null until every cache has synced. */
  get current(): CompiledWorld | null {
    return this.#current;
  }

  /** The usable catalogs of the last compilation, by name. */
  get catalogs(): ReadonlyMap<string, Catalog> {
    return this.#catalogs;
  }

  /** The generation of the object that is compiled; a newer one in the cache is compiled next. */
  generationOf(kind: NodeKind, id: string): number {
    return this.versionOf(kind, id)?.generation ?? 0;
  }

  /** The object that is compiled, also when it does not parse; null: there was none. */
  versionOf(kind: NodeKind, id: string): ObjectVersion | null {
    return this.#versions.get(versionKey(kind, id)) ?? null;
  }

  /** Whether the tree is compiled with knowledge of what was in force; before, it must not be written. */
  isKnown(key: TreeKey): boolean {
    return this.#known.has(key);
  }

  /** Whether `isKnown` holds for every tree. */
  get isAllKnown(): boolean {
    const accounts = this.#current?.accounts.values() ?? [];
    return Array.from(accounts).every(({ treeKey }) => this.#known.has(treeKey));
  }

  /** Asks again what is in force: for readers whose tree differs from the one in Redis. */
  forget(key: TreeKey): void {
    this.#known.delete(key);
    if (this.#recalled.delete(key)) this.touch();
  }

  /** A cache changed: compile soon. */
  touch(): void {
    this.#dirty = true;
    this.#wake.resolve();
  }

  /** The listener hears of every compilation, also of those that changed nothing. */
  subscribe(listener: WorldListener): Disposable {
    this.#listeners.add(listener);
    return { [Symbol.dispose]: () => void this.#listeners.delete(listener) };
  }

  /** Compiles whenever something changed or calendar windows need it, until the signal aborts; never fails. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock } = this.#options;
    while (!signal.aborted) {
      await this.#changed(signal);
      if (signal.aborted) return;
      const startedMs = clock.monotonicMs();
      this.#compile(signal);
      const tookMs = clock.monotonicMs() - startedMs;
      await clock.sleep(Math.max(SETTLE_MS, REST_FACTOR * tookMs), signal).catch(() => undefined);
    }
  }

  /** Waits until there is a reason to compile. */
  async #changed(signal: AbortSignal): Promise<void> {
    while (!signal.aborted && !(this.#dirty && this.#hasSynced())) {
      this.#wake = Promise.withResolvers<void>();
      const waiting = new AbortController();
      const timer = this.#options.clock
        .sleep(this.#idleMs(), AbortSignal.any([signal, waiting.signal]))
        .then(() => void (this.#dirty = true))
        .catch(() => undefined);
      await Promise.race([this.#wake.promise, timer]);
      waiting.abort();
    }
  }

  #idleMs(): number {
    const staleAtMs = this.#current?.staleAtMs ?? null;
    const untilStaleMs = staleAtMs === null ? Number.POSITIVE_INFINITY : staleAtMs - this.#options.clock.nowMs();
    // Timers count in 32 bits; a step of the wall clock must not be slept through either.
    return Math.min(60_000, Math.max(1000, untilStaleMs));
  }

  #hasSynced(): boolean {
    return Object.values(this.#options.caches).every(({ hasSynced }) => hasSynced);
  }

  #compile(signal: AbortSignal): void {
    this.#dirty = false;
    const { caches, allowedOrigins, operatorNamespace, calendar, clock, log } = this.#options;
    try {
      const input = gatherInput(caches, this.#catalogs);
      const previous = this.#previous;
      const known = new Set(this.#recalled);
      const world = compileTrees({
        ...input,
        previous,
        allowedOrigins,
        operatorNamespace,
        calendar,
        nowMs: clock.nowMs(),
      });
      this.#catalogs = input.catalogs;
      this.#versions = versionsOf(caches);
      this.#remember(world, signal);
      this.#current = world;
      this.#known = known;
    } catch (reason) {
      // A bug must not freeze the cluster's limits for good: the next change tries again.
      log.error('world.compileFailed', { cause: AppError.from(reason).message });
      return;
    }
    for (const listener of Array.from(this.#listeners)) listener(this.#current);
  }

  #remember(world: CompiledWorld, signal: AbortSignal): void {
    const present = new Set<TreeKey>();
    for (const { treeKey, tree } of world.accounts.values()) {
      present.add(treeKey);
      if (!this.#recalled.has(treeKey)) this.#recall(treeKey, signal);
      else if (tree !== null) this.#previous.set(treeKey, tree);
    }
    for (const key of Array.from(this.#recalled)) {
      if (present.has(key)) continue;
      this.#recalled.delete(key);
      this.#previous.delete(key);
    }
  }

  #recall(key: TreeKey, signal: AbortSignal): void {
    if (this.#recalling.has(key)) return;
    this.#recalling.add(key);
    void this.#recallUntil(key, signal).finally(() => this.#recalling.delete(key));
  }

  async #recallUntil(key: TreeKey, signal: AbortSignal): Promise<void> {
    const { recall, clock, log } = this.#options;
    while (!signal.aborted) {
      try {
        const tree = await recall(key, signal).catch(noneIfUnreadable);
        if (tree === null) this.#previous.delete(key);
        else this.#previous.set(key, tree);
        this.#recalled.add(key);
        this.touch();
        return;
      } catch (reason) {
        if (signal.aborted) return;
        log.warn('world.recallFailed', { tree: key, cause: AppError.from(reason).message });
        await clock.sleep(RECALL_RETRY_MS, signal).catch(() => undefined);
      }
    }
  }
}

/** What nobody can read is not in force by our hand: it is written anew (rule W5). */
function noneIfUnreadable(reason: unknown): null {
  if (AppError.from(reason).code === 'invalid') return null;
  throw reason;
}
