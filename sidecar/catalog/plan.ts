/** The limits that a bought plan brings with it. */
import type { LimitConfig } from '../engine/terms.ts';
import type { Catalog, CatalogPlan, PlanUnit } from './terms.ts';

const RESOURCE_OF: Readonly<Record<PlanUnit, LimitConfig['resource']>> = { Prompts: 'Prompts', Credits: 'Credits' };

/**
 * Limits of a plan for the account node, in the plan's order: windows open at first use, as the vendor's do.
 * Null when the catalog has no such plan; names and generations are compared as written.
 */
export function planLimits(
  catalog: Pick<Catalog, 'plans'>,
  plan: Pick<CatalogPlan, 'name' | 'generation'>,
): readonly LimitConfig[] | null {
  const found = catalog.plans.find(({ name, generation }) => name === plan.name && generation === plan.generation);
  if (!found) return null;
  return found.limits.map(({ name, amount, durationMs }) => ({
    name,
    resource: RESOURCE_OF[found.unit],
    amount,
    window: { type: 'Anchored', durationMs },
  }));
}
