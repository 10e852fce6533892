/** A cache of one kind of object: projected when they arrive, so that only what is needed stays in memory. */
import { orAbort } from '../../sidecar/base/abort.ts';
import type { Log } from '../../sidecar/base/log.ts';
import { keyOf, type KubeObject } from './resources.ts';

export interface Stored<T> {
  /** `namespace/name`, or the name. */
  readonly key: string;
  readonly uid: string;
  readonly resourceVersion: string;
  readonly value: T;
}

export type Change<T> =
  | { readonly kind: 'added'; readonly current: Stored<T> }
  | { readonly kind: 'updated'; readonly current: Stored<T>; readonly previous: Stored<T> }
  | { readonly kind: 'deleted'; readonly previous: Stored<T> };

export type Listener<T> = (change: Change<T>) => void;

/** Index name → the values an object is found under. */
export type Indexes<T> = Readonly<Record<string, (value: T) => readonly string[]>>;

export interface StoreOptions<T> {
  readonly name: string;
  readonly log: Log;
  /** What is kept of an object; null leaves it out. Must not throw; if it does, the object is left out and logged. */
  readonly project: (object: KubeObject) => T | null;
  readonly indexes?: Indexes<T>;
}

/** Where a reflector puts what it sees. */
export interface Sink {
  upsert(object: KubeObject): void;
  remove(object: KubeObject): void;
  /** A fresh list: what is not added until `commit` is deleted then. */
  replace(): Replacement;
}

export interface Replacement {
  add(object: KubeObject): void;
  commit(): void;
}

export class Store<T> implements Sink {
  readonly #options: StoreOptions<T>;
  readonly #items = new Map<string, Stored<T>>();
  readonly #indexed = new Map<string, Map<string, Set<string>>>();
  readonly #listeners = new Set<Listener<T>>();
  readonly #synced = Promise.withResolvers<void>();
  #hasSynced = false;

  constructor(options: StoreOptions<T>) {
    this.#options = options;
    for (const name of Object.keys(options.indexes ?? {})) this.#indexed.set(name, new Map());
  }

  get name(): string {
    return this.#options.name;
  }

  get size(): number {
    return this.#items.size;
  }

  /** Whether a whole list has arrived: before, absence means nothing. */
  get hasSynced(): boolean {
    return this.#hasSynced;
  }

  async waitSynced(signal: AbortSignal): Promise<void> {
    await orAbort(this.#synced.promise, signal);
  }

  get(key: string): T | undefined {
    return this.#items.get(key)?.value;
  }

  entry(key: string): Stored<T> | undefined {
    return this.#items.get(key);
  }

  values(): IteratorObject<T> {
    return this.#items.values().map((stored) => stored.value);
  }

  entries(): IteratorObject<Stored<T>> {
    return this.#items.values();
  }

  keys(): IteratorObject<string> {
    return this.#items.keys();
  }

  /** The objects found under `value` in the index, in no order. An index that was not declared is empty. */
  byIndex(index: string, value: string): readonly T[] {
    const keys = this.#indexed.get(index)?.get(value) ?? [];
    return Array.from(keys, (key) => this.#items.get(key)).flatMap((stored) => (stored ? [stored.value] : []));
  }

  /** The listener first hears of everything there is as `added`, then of every change. Its errors are logged. */
  subscribe(listener: Listener<T>): Disposable {
    this.#listeners.add(listener);
    for (const current of this.#items.values()) this.#tell(listener, { kind: 'added', current });
    return { [Symbol.dispose]: () => void this.#listeners.delete(listener) };
  }

  upsert(object: KubeObject): void {
    const next = this.#stored(object);
    if (next === null) this.#drop(keyOf(object));
    else this.#put(next);
  }

  remove(object: KubeObject): void {
    this.#drop(keyOf(object));
  }

  replace(): Replacement {
    const incoming = new Map<string, Stored<T>>();
    return {
      add: (object) => {
        const next = this.#stored(object);
        if (next !== null) incoming.set(next.key, next);
      },
      commit: () => {
        for (const key of Array.from(this.#items.keys())) if (!incoming.has(key)) this.#drop(key);
        for (const next of incoming.values()) this.#put(next);
        this.#hasSynced = true;
        this.#synced.resolve();
      },
    };
  }

  #stored(object: KubeObject): Stored<T> | null {
    const { uid, resourceVersion } = object.metadata;
    try {
      const value = this.#options.project(object);
      return value === null ? null : { key: keyOf(object), uid, resourceVersion, value };
    } catch (reason) {
      const cause = reason instanceof Error ? reason.message : String(reason);
      this.#options.log.error('store.projectionFailed', { store: this.#options.name, key: keyOf(object), cause });
      return null;
    }
  }

  #put(next: Stored<T>): void {
    const previous = this.#items.get(next.key);
    // Lists and replayed watches bring back what is known; only changes are news.
    if (previous?.uid === next.uid && previous.resourceVersion === next.resourceVersion) return;
    if (previous !== undefined && previous.uid !== next.uid) {
      // Deleted and made again under the same name while nobody looked: two changes, not one.
      this.#drop(next.key);
      this.#put(next);
      return;
    }
    if (previous !== undefined) this.#unindex(previous);
    this.#items.set(next.key, next);
    this.#index(next);
    this.#tellAll(previous ? { kind: 'updated', current: next, previous } : { kind: 'added', current: next });
  }

  #drop(key: string): void {
    const previous = this.#items.get(key);
    if (previous === undefined) return;
    this.#unindex(previous);
    this.#items.delete(key);
    this.#tellAll({ kind: 'deleted', previous });
  }

  #index(stored: Stored<T>): void {
    for (const [name, valuesOf] of Object.entries(this.#options.indexes ?? {})) {
      const index = this.#indexed.get(name);
      for (const value of valuesOf(stored.value)) {
        const keys = index?.get(value);
        if (keys === undefined) index?.set(value, new Set([stored.key]));
        else keys.add(stored.key);
      }
    }
  }

  #unindex(stored: Stored<T>): void {
    for (const [name, valuesOf] of Object.entries(this.#options.indexes ?? {})) {
      const index = this.#indexed.get(name);
      for (const value of valuesOf(stored.value)) {
        const keys = index?.get(value);
        keys?.delete(stored.key);
        if (keys?.size === 0) index?.delete(value);
      }
    }
  }

  #tellAll(change: Change<T>): void {
    for (const listener of Array.from(this.#listeners)) this.#tell(listener, change);
  }

  #tell(listener: Listener<T>, change: Change<T>): void {
    try {
      listener(change);
    } catch (reason) {
      const cause = reason instanceof Error ? reason.message : String(reason);
      this.#options.log.error('store.listenerFailed', { store: this.#options.name, change: change.kind, cause });
    }
  }
}
