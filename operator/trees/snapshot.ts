/** What a bound sidecar is sent; the same for edge (over the wire) and local mode (in a file). */
import { AppError } from '../../sidecar/base/errors.ts';
import type { Catalog } from '../../sidecar/catalog/terms.ts';
import type { SidecarSnapshot } from '../../sidecar/control/terms.ts';
import type { Revision } from '../../sidecar/engine/terms.ts';
import { modelsFor } from './catalog.ts';
import type { Credential } from './credentials.ts';
import { objectId } from './names.ts';
import type { CompiledAccount, CompiledQuota } from './terms.ts';

/** One call may run no longer. */
const MAX_RUNTIME_MS = 3_600_000;

export interface SnapshotParts {
  readonly quota: CompiledQuota;
  readonly account: CompiledAccount;
  readonly catalog: Catalog;
  readonly credential: Credential;
  readonly redis: SidecarSnapshot['redis'];
  readonly revision: Revision;
  /** Of the pool's `perAgent`; null: no limit of its own. */
  readonly perAgentConcurrency: number | null;
}

/** Fails with code `unavailable` when the account has no usable key or origin. */
export function composeSnapshot(parts: SnapshotParts): SidecarSnapshot {
  const { quota, account, catalog, credential } = parts;
  const { delivery } = account;
  if (!delivery)
    throw new AppError('unavailable', `GLMAccount ${objectId(account)} cannot be served: ${account.verdict.message}`);
  return {
    revision: parts.revision,
    binding: {
      treeKey: account.treeKey,
      quota: objectId(quota),
      leaf: quota.node,
      path: quota.path,
      currency: delivery.currency,
      perAgentConcurrency: parts.perAgentConcurrency,
      maxRuntimeMs: MAX_RUNTIME_MS,
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
