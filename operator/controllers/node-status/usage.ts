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

export function describeConcurrency(
  node: NodeSnapshot,
  tree: TreeSnapshot,
  lastChange: string | null,
): ConcurrencyStatus {
  const isRoot = node.name === 'account';
  const models = isRoot ? busyModels(tree) : [];
  return {
    ...(node.concurrency === null ? {} : { limit: node.concurrency }),
    inFlight: node.inFlight,
    queued: node.queued,
    ...(node.oldestWaiterMs === null ? {} : { oldestWait: secondTime(node.oldestWaiterMs) }),
    ...(lastChange === null ? {} : { lastChange }),
    ...(models.length === 0 ? {} : { models }),
  };
}

function busyModels(tree: TreeSnapshot): ModelConcurrency[] {
  return tree.nodes.flatMap(({ name, inFlight, concurrency, queued, breaker }) => {
    const isQuiet = inFlight === 0 && queued === 0 && breaker === 'Closed';
    if (!name.startsWith(MODEL_PREFIX) || isQuiet) return [];
    return [
      {
        name: name.slice(MODEL_PREFIX.length),
        limit: concurrency ?? 0,
        inFlight,
        ...(queued === 0 ? {} : { queued }),
        ...(breaker === 'Closed' ? {} : { breaker }),
      },
    ];
  });
}
