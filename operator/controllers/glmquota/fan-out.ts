/** Which quotas a change of their tree's state concerns. */
import { isDeepStrictEqual } from 'node:util';
import type { CompiledWorld } from '../../trees/terms.ts';
import type { TreeSnapshot } from '../../../sidecar/engine/terms.ts';
import type { NodeName } from '../../../sidecar/engine/tree-terms.ts';
import type { SyncState } from '../node-status/sync-state.ts';

/** Ids of the account's quotas whose status may read differently now. A quiet tree concerns nobody. */
export function quotasConcerned(
  world: CompiledWorld,
  account: string,
  change: { readonly before: SyncState | undefined; readonly after: SyncState },
): string[] {
  const changed = changedNodes(change.before, change.after);
  return Array.from(world.quotas).flatMap(([id, quota]) => {
    if (quota.account !== account) return [];
    return changed === 'all' || quota.path.some((node) => changed.has(node)) ? [id] : [];
  });
}

function changedNodes(before: SyncState | undefined, after: SyncState): ReadonlySet<NodeName> | 'all' {
  if (before?.kind !== 'applied' || after.kind !== 'applied') return 'all';
  return nodesThatDiffer(before.snapshot, after.snapshot);
}

function nodesThatDiffer(old: TreeSnapshot, fresh: TreeSnapshot): ReadonlySet<NodeName> {
  const known = new Map(old.nodes.map((node) => [node.name, node]));
  const differing = fresh.nodes.filter((node) => !isDeepStrictEqual(known.get(node.name), node));
  return new Set(differing.map(({ name }) => name));
}
