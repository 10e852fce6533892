/** What the engine counted, as people read it. */
import { formatAmount } from '../../api/v1alpha1/amounts.ts';
import type { ConcurrencyStatus, LimitUsage, ModelConcurrency } from '../../api/v1alpha1/status.ts';
import { secondTime } from '../../runtime/timestamps.ts';
import type { NodeSnapshot, TreeSnapshot, UsageSnapshot } from '../../../sidecar/engine/terms.ts';

const MODEL_PREFIX = 'model:';

export function describeUsage(node: NodeSnapshot): LimitUsage[] {
  return node.usage.map((usage) => ({
    limit: usage.limit,
    resource: usage.resource,
    amount: formatAmount(usage.resource, usage.amount),
    used: formatAmount(usage.resource, usage.used),
    reserved: formatAmount(usage.resource, usage.reserved),
    percent: percentOf(usage),
    ...(usage.resetsAtMs === null ? {} : { resetsAt: secondTime(usage.resetsAtMs) }),
  }));
}

/** Whole percent, floored; a limit of nothing is used up. Exact: sums pass 2^53 when multiplied. */
export function percentOf({ used, reserved, amount }: UsageSnapshot): number {
  if (amount === 0) return 100;
  return Number(((BigInt(used) + BigInt(reserved)) * 100n) / BigInt(amount));
}

export function describeConcurrency(node: NodeSnapshot, tree: TreeSnapshot): ConcurrencyStatus {
  const isRoot = node.name === 'account';
  const models = isRoot ? busyModels(tree) : [];
  return {
    ...(node.concurrency === null ? {} : { limit: node.concurrency }),
    inFlight: node.inFlight,
    ...(models.length === 0 ? {} : { models }),
  };
}

function busyModels(tree: TreeSnapshot): ModelConcurrency[] {
  return tree.nodes.flatMap(({ name, inFlight, concurrency }) =>
    name.startsWith(MODEL_PREFIX) && inFlight > 0
      ? [{ name: name.slice(MODEL_PREFIX.length), limit: concurrency ?? 0, inFlight }]
      : [],
  );
}

export interface Blockage {
  /** `<node>/<limit>`. */
  readonly by: string;
  readonly untilMs: number | null;
}

/**
 * What would refuse the next call of the node whose path this is (leaf first): a stop, a limit used up, or no free
 * slot. Of several the one that lasts longest is named, as the call needs them all to pass.
 */
export function findBlockage(path: readonly NodeSnapshot[]): Blockage | null {
  let worst: Blockage | null = null;
  let worstRank = -1;
  for (const { blockage, rank } of path.flatMap(blockagesOf)) {
    if (rank <= worstRank) continue;
    worst = blockage;
    worstRank = rank;
  }
  return worst;
}

/** Rank: a person's stop outlasts windows, windows outlast slots. */
function blockagesOf(node: NodeSnapshot): { blockage: Blockage; rank: number }[] {
  const found: { blockage: Blockage; rank: number }[] = [];
  if (node.stopped) found.push({ blockage: { by: `${node.name}/stop`, untilMs: null }, rank: Number.MAX_VALUE });
  for (const usage of node.usage) {
    if (percentOf(usage) < 100) continue;
    const blockage = { by: `${node.name}/${usage.limit}`, untilMs: usage.resetsAtMs };
    found.push({ blockage, rank: usage.resetsAtMs ?? 1 });
  }
  if (node.concurrency !== null && node.inFlight >= node.concurrency) {
    found.push({ blockage: { by: `${node.name}/concurrency`, untilMs: null }, rank: 0 });
  }
  return found;
}
