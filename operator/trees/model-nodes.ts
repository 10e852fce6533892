/** The nodes that every account has, one a model: the vendor counts calls in flight by account and model (rule M1). */
import type { GlmAccountSpec } from '../api/v1alpha1/glmaccount.ts';
import type { CatalogModel } from '../../sidecar/catalog/terms.ts';
import type { AdaptiveConfig, NodeConfig } from '../../sidecar/engine/tree-terms.ts';
import { ACCOUNT_NODE, modelNode, OTHER_MODEL_NODE } from './names.ts';

/**
 * One node a model and `model:other`, by name. Each has the account's rate, which the vendor's 1303 stretches for one
 * model only, and its breaker; what it holds in flight is learnt unless the account's concurrency is Fixed.
 */
export function modelNodes(
  models: readonly CatalogModel[],
  spec: GlmAccountSpec,
  account: NodeConfig,
): readonly NodeConfig[] {
  const names = new Set([...models.map(({ name }) => modelNode(name)), OTHER_MODEL_NODE]);
  return [...names].toSorted().map((name) => ({
    ...account,
    name,
    parent: ACCOUNT_NODE,
    ...modelSlots(name, spec),
    limits: [],
    stops: [],
    maxQueue: null,
    breaker: spec.breaker,
    thresholds: [],
  }));
}

function modelSlots(
  node: string,
  { concurrency, modelConcurrency }: GlmAccountSpec,
): { readonly concurrency: number; readonly adaptive: AdaptiveConfig | null } {
  const own = modelConcurrency.find(({ model }) => modelNode(model) === node);
  const max = own?.max ?? concurrency.max;
  if (concurrency.mode === 'Fixed') return { concurrency: max, adaptive: null };
  // The account's bounds are for all models together; one that was given less keeps within its own.
  const min = Math.min(concurrency.min, max);
  const start = Math.max(min, Math.min(own?.start ?? concurrency.start, max));
  return { concurrency: max, adaptive: { min, start } };
}
