/** What has to be done so that Redis holds a tree under this leader: pure. */
import type { TreeSnapshot } from '../../../sidecar/engine/terms.ts';
import type { Revision } from '../../../sidecar/engine/tree-terms.ts';
import type { Fence } from '../../runtime/leader.ts';

export interface ConfigureFacts {
  readonly wantedHash: string;
  /** What Redis holds; null: nothing. */
  readonly held: Pick<TreeSnapshot, 'revision' | 'configHash'> | null;
  readonly fence: Fence;
  /** What this process configured last in this tree; null: nothing yet. */
  readonly last: { readonly hash: string; readonly generation: number } | null;
  readonly nowMs: number;
}

export type ConfigureStep =
  | { readonly kind: 'none' }
  | { readonly kind: 'configure'; readonly revision: Revision }
  /** A newer leader wrote: this process must stop. */
  | { readonly kind: 'fenced'; readonly revision: Revision };

/**
 * The generation counts changes of the tree and never goes back, whoever leads: sidecars compare it to know whether
 * they are up to date. A new leader writes every tree once with its own fence, so that its predecessor is refused from
 * then on, and keeps the generation where the tree is the same: running agents notice nothing.
 */
export function planConfigure(facts: ConfigureFacts): ConfigureStep {
  const { wantedHash, held, fence } = facts;
  if (held === null) return { kind: 'configure', revision: { ...fence, generation: generationAfterLoss(facts) } };
  const order = compareFences(held.revision, fence);
  if (order > 0) return { kind: 'fenced', revision: held.revision };
  const isSame = held.configHash === wantedHash;
  if (isSame && order === 0) return { kind: 'none' };
  const generation = isSame ? held.revision.generation : nextGeneration(held.revision.generation, facts.last);
  return { kind: 'configure', revision: { ...fence, generation } };
}

function nextGeneration(held: number, last: ConfigureFacts['last']): number {
  return Math.max(held, last?.generation ?? 0) + 1;
}

/**
 * Redis lost the tree. Whoever knows what it was goes on from there; who does not takes the time in seconds, which is
 * ahead of any count of writes.
 */
function generationAfterLoss({ last, wantedHash, nowMs }: ConfigureFacts): number {
  if (last === null) return Math.floor(nowMs / 1000);
  return last.hash === wantedHash ? last.generation : last.generation + 1;
}

/** Negative: `a` is older than `b`. */
export function compareFences(a: Fence, b: Fence): number {
  return a.leaseCreatedMs - b.leaseCreatedMs || a.transitions - b.transitions;
}
