/** What a bound sidecar is sent; the same for edge (over the wire) and local mode (in a file). */
import { AppError } from '../../sidecar/base/errors.ts';
import type { Catalog } from '../../sidecar/catalog/terms.ts';
import type { SidecarSnapshot } from '../../sidecar/control/terms.ts';
import type { Attributes } from '../../sidecar/engine/terms.ts';
import type { Revision } from '../../sidecar/engine/tree-terms.ts';
import { modelsFor } from './catalog.ts';
import type { Credential } from './credentials.ts';
import { objectId } from './names.ts';
import type { CompiledAccount, CompiledQuota } from './terms.ts';

export interface SnapshotParts {
  readonly quota: CompiledQuota;
  readonly account: CompiledAccount;
  readonly catalog: Catalog;
  readonly credential: Credential;
  readonly redis: SidecarSnapshot['redis'];
  readonly revision: Revision;
  /** Of the pool's `perAgent`; null: no limit of its own. */
  readonly perAgentConcurrency: number | null;
  /** What is known of the pod: its namespace, its pool. */
  readonly attributes: Attributes;
}

/** Fails with code `unavailable` when the account has no usable key or origin, or pods cannot bind to the quota. */
export function composeSnapshot(parts: SnapshotParts): SidecarSnapshot {
  const { quota, account, catalog, credential } = parts;
  const { delivery } = account;
  if (!delivery)
    throw new AppError('unavailable', `GLMAccount ${objectId(account)} cannot be served: ${account.verdict.message}`);
  const { calls } = quota;
  if (!calls)
    throw new AppError('unavailable', `GLMQuota ${objectId(quota)} cannot be bound: ${quota.verdict.message}`);
  return {
    revision: parts.revision,
    binding: {
      treeKey: account.treeKey,
      quota: objectId(quota),
      leaf: quota.node,
      path: quota.path,
      currency: delivery.currency,
      perAgentConcurrency: parts.perAgentConcurrency,
      maxRuntimeMs: calls.maxRuntimeMs,
      waiting: calls.waiting,
      class: calls.class,
      attributes: parts.attributes,
      drained: calls.isDrained,
      durability: delivery.durability,
      onStoreFailure: delivery.onStoreFailure,
      retry: delivery.retry,
    },
    catalog: {
      models: modelsFor(catalog.models, delivery.billing),
      prices: catalog.prices.filter(({ currency }) => currency === delivery.currency),
      credits: catalog.credits,
      schedule: catalog.schedule,
      errors: catalog.errors,
    },
    upstream: {
      origin: delivery.origin,
      billing: delivery.billing,
      apiKey: credential.apiKey,
      caPem: credential.caPem,
    },
    redis: parts.redis,
  };
}
