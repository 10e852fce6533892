/** Which objects a compilation changed: only they need work. */
import { isDeepStrictEqual } from 'node:util';
import type { CompiledWorld } from '../../trees/terms.ts';
import type { NodeKind } from './gather.ts';
import type { World } from './world.ts';

export interface Differences {
  /** `namespace/name`, those that are gone included. */
  readonly accounts: readonly string[];
  readonly quotas: readonly string[];
}

/** Remembers the compilation before; in the first one everything is new. */
export class DifferenceFinder {
  #before: CompiledWorld | null = null;
  #generations = new Map<string, number>();

  /** What is different in the world's compilation since the last call. */
  next(world: Pick<World, 'current' | 'generationOf'>): Differences {
    const after = world.current;
    if (after === null) return { accounts: [], quotas: [] };
    const before = this.#before;
    this.#before = after;
    const isNewer = (kind: NodeKind, id: string): boolean => {
      const generation = world.generationOf(kind, id);
      const known = this.#generations.get(`${kind} ${id}`);
      this.#generations.set(`${kind} ${id}`, generation);
      return known !== generation;
    };
    return {
      accounts: changedKeys(before?.accounts, after.accounts, (id) => isNewer('GLMAccount', id)),
      quotas: changedKeys(before?.quotas, after.quotas, (id) => isNewer('GLMQuota', id)),
    };
  }
}

function changedKeys<T>(
  before: ReadonlyMap<string, T> | undefined,
  after: ReadonlyMap<string, T>,
  isNewer: (id: string) => boolean,
): string[] {
  const changed = Array.from(after).filter(([id, value]) => {
    // Asked of every object: it also takes note.
    const newer = isNewer(id);
    return newer || !isDeepStrictEqual(before?.get(id), value);
  });
  const gone = Array.from(before?.keys() ?? []).filter((id) => !after.has(id));
  return [...changed.map(([id]) => id), ...gone];
}
