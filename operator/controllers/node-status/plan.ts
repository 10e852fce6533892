/** The status of an account or a quota, from facts alone. */
import type { EffectiveLimit, MoveStatus, NodeStatus, ResetStatus } from '../../api/v1alpha1/status.ts';
import { type Condition, nextConditions } from '../../runtime/conditions.ts';
import { secondTime } from '../../runtime/timestamps.ts';
import type { NodeSnapshot, TreeSnapshot } from '../../../sidecar/engine/terms.ts';
import type { NodeName, Revision, TreeConfig } from '../../../sidecar/engine/tree-terms.ts';
import { type CountedNode, findBlockage } from './blockage.ts';
import { type ConditionFacts, planConditions } from './conditions.ts';
import { describeConcurrency, describeUsage } from './usage.ts';

export interface NodeFacts extends ConditionFacts {
  readonly generation: number;
  /** As they stand in the object. */
  readonly conditions: readonly Condition[];
  readonly effective: readonly EffectiveLimit[];
  /** The node and those above it; empty for an object in no tree. */
  readonly path: readonly NodeName[];
  /** The tree as it is compiled; null for an object in no tree. */
  readonly tree: TreeConfig | null;
  /** What became of the last reset that was asked for; null: none was. */
  readonly reset: ResetStatus | null;
  /** What became of the last move that was declared; null: none was. */
  readonly plannedMove: MoveStatus | null;
  /** RFC 3339: when the node's limit on calls in flight last changed; null: it never did. */
  readonly lastChange: string | null;
}

/** What Redis said last of the object's tree; null: nothing yet. */
export function snapshotOf({ sync }: Pick<NodeFacts, 'sync'>): TreeSnapshot | null {
  return sync.kind === 'applied' || sync.kind === 'away' ? sync.snapshot : null;
}

/** The complete status to write. */
export function planNodeStatus(facts: NodeFacts, nowMs: number): NodeStatus {
  const { generation, reset, plannedMove } = facts;
  const snapshot = snapshotOf(facts);
  return {
    observedGeneration: generation,
    conditions: nextConditions(facts.conditions, planConditions(facts), { generation, nowMs }),
    ...(facts.effective.length === 0 ? {} : { effective: facts.effective }),
    ...(snapshot === null ? {} : counted(facts, snapshot, nowMs)),
    ...(reset === null ? {} : { reset }),
    ...(plannedMove === null ? {} : { plannedMove }),
  };
}

function pathIn(snapshot: TreeSnapshot, { path, tree }: NodeFacts): CountedNode[] {
  const nodes = new Map(snapshot.nodes.map((node) => [node.name, node]));
  return path.flatMap((name) => {
    const node = nodes.get(name);
    return node ? [{ snapshot: node, config: tree?.nodes.find((each) => each.name === name) ?? null }] : [];
  });
}

function counted(facts: NodeFacts, snapshot: TreeSnapshot, nowMs: number): Partial<NodeStatus> {
  const path = pathIn(snapshot, facts);
  const own: NodeSnapshot | undefined = path[0]?.snapshot;
  if (own === undefined) return {};
  const usage = describeUsage(own);
  const models = snapshot.nodes.filter(({ name }) => name.startsWith('model:'));
  const blockage = findBlockage(path, models, nowMs);
  return {
    ...(usage.length === 0 ? {} : { usage, usedPercent: Math.max(...usage.map(({ percent }) => percent)) }),
    concurrency: describeConcurrency(own, snapshot, facts.lastChange),
    ...(blockage === null ? {} : { blockedBy: blockage.by }),
    ...(typeof blockage?.untilMs === 'number' ? { until: secondTime(blockage.untilMs) } : {}),
    revision: describeRevision(snapshot.revision),
  };
}

export function describeRevision({ leaseCreatedMs, transitions, generation }: Revision): string {
  return `${leaseCreatedMs}.${transitions}.${generation}`;
}
