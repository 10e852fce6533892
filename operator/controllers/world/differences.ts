/** Which objects a compilation changed: only they need work. */
import { isDeepStrictEqual } from 'node:util';
import type { CompiledWorld } from '../../trees/terms.ts';
import type { NodeKind, ObjectVersion } from './gather.ts';
import type { World } from './world.ts';

export interface Differences {
  /** `namespace/name`, those that are gone included. */
  readonly accounts: readonly string[];
  readonly quotas: readonly string[];
}

type Versions = ReadonlyMap<string, ObjectVersion | null>;

/** Remembers the compilation before; in the first one everything is new. */
export class DifferenceFinder {
  #before: CompiledWorld | null = null;
  #accounts: Versions = new Map();
  #quotas: Versions = new Map();

  /** What is different in the world's compilation since the last call. */
  next(world: Pick<World, 'current' | 'versionOf'>): Differences {
    const after = world.current;
    if (after === null) return { accounts: [], quotas: [] };
    const before = { compiled: this.#before, accounts: this.#accounts, quotas: this.#quotas };
    const versions = (kind: NodeKind, ids: Iterable<string>): Versions =>
      new Map(Array.from(ids, (id) => [id, world.versionOf(kind, id)] as const));
    this.#before = after;
    this.#accounts = versions('GLMAccount', after.accounts.keys());
    this.#quotas = versions('GLMQuota', after.quotas.keys());
    // An object that was deleted and made again compiles to the same, and has no status.
    const differs = (from: Versions, to: Versions, id: string): boolean => !isDeepStrictEqual(from.get(id), to.get(id));
    return {
      accounts: changedKeys(before.compiled?.accounts, after.accounts, (id) =>
        differs(before.accounts, this.#accounts, id),
      ),
      quotas: changedKeys(before.compiled?.quotas, after.quotas, (id) => differs(before.quotas, this.#quotas, id)),
    };
  }
}

function changedKeys<T>(
  before: ReadonlyMap<string, T> | undefined,
  after: ReadonlyMap<string, T>,
  isNewer: (id: string) => boolean,
): string[] {
  const changed = Array.from(after).filter(([id, value]) => isNewer(id) || !isDeepStrictEqual(before?.get(id), value));
  const gone = Array.from(before?.keys() ?? []).filter((id) => !after.has(id));
  return [...changed.map(([id]) => id), ...gone];
}
