/** What is known of a tree in Redis. */
import type { TreeSnapshot } from '../../../sidecar/engine/terms.ts';

export type SyncState =
  /** Redis holds the compiled tree under this leader's revision. */
  | { readonly kind: 'applied'; readonly snapshot: TreeSnapshot }
  /** Redis could not be asked. The snapshot is the last one seen. */
  | { readonly kind: 'away'; readonly message: string; readonly snapshot: TreeSnapshot | null }
  /** The tree's place belongs to another account. */
  | { readonly kind: 'conflict'; readonly account: string }
  /** There is nothing to configure: no good spec was ever seen. */
  | { readonly kind: 'none' };

/** Whether the state is about the tree as it is compiled now (its hash; null: there is none), not about an earlier one. */
export function isCurrent(state: SyncState, hash: string | null): boolean {
  if (state.kind === 'none') return hash === null;
  return state.kind !== 'applied' || state.snapshot.configHash === hash;
}

/** By `namespace/name` of the account; listeners hear which account's state changed. */
export class SyncBoard {
  readonly #states = new Map<string, SyncState>();
  readonly #listeners = new Set<(account: string, before: SyncState | undefined) => void>();

  get(account: string): SyncState | undefined {
    return this.#states.get(account);
  }

  states(): Iterable<SyncState> {
    return this.#states.values();
  }

  set(account: string, state: SyncState): void {
    const before = this.#states.get(account);
    this.#states.set(account, state);
    for (const listener of this.#listeners) listener(account, before);
  }

  forget(account: string): void {
    this.#states.delete(account);
  }

  subscribe(listener: (account: string, before: SyncState | undefined) => void): Disposable {
    this.#listeners.add(listener);
    return { [Symbol.dispose]: () => void this.#listeners.delete(listener) };
  }
}
