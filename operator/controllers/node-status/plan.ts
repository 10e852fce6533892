/** The status of an account or a quota, from facts alone. */
import type { EffectiveLimit, NodeStatus } from '../../api/v1alpha1/status.ts';
import { type Condition, nextConditions } from '../../runtime/conditions.ts';
import { secondTime } from '../../runtime/timestamps.ts';
import type { NodeName, NodeSnapshot, Revision, TreeSnapshot } from '../../../sidecar/engine/terms.ts';
import { type ConditionFacts, planConditions } from './conditions.ts';
import { describeConcurrency, describeUsage, findBlockage } from './usage.ts';

export interface NodeFacts extends ConditionFacts {
  readonly generation: number;
  /** As they stand in the object. */
  readonly conditions: readonly Condition[];
  readonly effective: readonly EffectiveLimit[];
  /** The node and those above it; empty for an object in no tree. */
  readonly path: readonly NodeName[];
}

/** The complete status to write. */
export function planNodeStatus(facts: NodeFacts, nowMs: number): NodeStatus {
  const { sync, generation } = facts;
  const snapshot = sync.kind === 'applied' || sync.kind === 'away' ? sync.snapshot : null;
  const path = snapshot === null ? [] : pathIn(snapshot, facts.path);
  const own = path[0];
  return {
    observedGeneration: generation,
    conditions: nextConditions(facts.conditions, planConditions(facts), { generation, nowMs }),
    ...(facts.effective.length === 0 ? {} : { effective: facts.effective }),
    ...(snapshot === null || own === undefined ? {} : counted(own, path, snapshot)),
  };
}

function pathIn(snapshot: TreeSnapshot, names: readonly NodeName[]): NodeSnapshot[] {
  const nodes = new Map(snapshot.nodes.map((node) => [node.name, node]));
  return names.flatMap((name) => nodes.get(name) ?? []);
}

function counted(own: NodeSnapshot, path: readonly NodeSnapshot[], tree: TreeSnapshot): Partial<NodeStatus> {
  const usage = describeUsage(own);
  const blockage = findBlockage(path);
  return {
    ...(usage.length === 0 ? {} : { usage, usedPercent: Math.max(...usage.map(({ percent }) => percent)) }),
    concurrency: describeConcurrency(own, tree),
    ...(blockage === null ? {} : { blockedBy: blockage.by }),
    ...(typeof blockage?.untilMs === 'number' ? { until: secondTime(blockage.untilMs) } : {}),
    revision: describeRevision(tree.revision),
  };
}

export function describeRevision({ leaseCreatedMs, transitions, generation }: Revision): string {
  return `${leaseCreatedMs}.${transitions}.${generation}`;
}
