/** From GLMCatalog specs to the catalogs that accounts name. */
import type { GlmCatalogSpec, ModelSpec, ScheduleSpec } from '../api/v1alpha1/glmcatalog.ts';
import { OTHER_MODEL, type Catalog, type CatalogModel, type CatalogSchedule } from '../../sidecar/catalog/terms.ts';
import type { Billing } from '../../sidecar/control/terms.ts';

const FULL_RATE_PPM = 1_000_000;

/**
 * `base` with the rows of `override` in place of those with the same key (model; model and currency; plan and
 * generation; promotion; code) and its new rows behind. An alias claimed by `override` leaves the model it had in `base`.
 */
export function mergeCatalogs(base: GlmCatalogSpec, override: GlmCatalogSpec): GlmCatalogSpec {
  return {
    extends: null,
    models: merged(withoutClaimed(base.models, override.models), override.models, ({ name }) => name),
    prices: merged(base.prices, override.prices, ({ model, currency }) => `${model}/${currency}`),
    credits: merged(base.credits, override.credits, ({ model }) => model),
    plans: merged(base.plans, override.plans, ({ name, generation }) => `${name}/${generation}`),
    schedule: mergeSchedules(base.schedule, override.schedule),
    errors: merged(base.errors, override.errors, ({ code }) => code),
  };
}

function merged<T>(base: readonly T[], override: readonly T[], keyOf: (row: T) => string): readonly T[] {
  const rows = new Map(base.map((row) => [keyOf(row), row]));
  for (const row of override) rows.set(keyOf(row), row);
  return [...rows.values()];
}

function withoutClaimed(base: readonly ModelSpec[], override: readonly ModelSpec[]): readonly ModelSpec[] {
  const aliases = new Set(override.flatMap((model) => [...model.aliases, model.name]));
  const planAliases = new Set(override.flatMap((model) => model.planAliases));
  return base.map((model) => ({
    ...model,
    aliases: model.aliases.filter((alias) => !aliases.has(alias)),
    planAliases: model.planAliases.filter((alias) => !planAliases.has(alias)),
  }));
}

/** Promotions of the override come last in the list: the last one that is running counts. */
function mergeSchedules(base: ScheduleSpec, override: ScheduleSpec): ScheduleSpec {
  const replaced = new Set(override.promotions.map(({ name }) => name));
  return {
    timeZone: override.timeZone ?? base.timeZone,
    peak: override.peak ?? base.peak,
    peakFactorPpm: override.peakFactorPpm ?? base.peakFactorPpm,
    offPeakFactorPpm: override.offPeakFactorPpm ?? base.offPeakFactorPpm,
    promotions: [...base.promotions.filter(({ name }) => !replaced.has(name)), ...override.promotions],
  };
}

/** A spec without `extends`, or merged with what it extends, as the rest of the operator uses it. */
export function catalogOf(spec: GlmCatalogSpec): Catalog {
  const { models, prices, credits, plans, errors } = spec;
  return { models, prices, credits, plans, schedule: scheduleOf(spec.schedule), errors };
}

/**
 * The models as an account with this billing meets them. On plans the vendor serves old names with newer models: those
 * become aliases, and models that can no longer be reached are left out. Pay-as-you-go keeps every model apart.
 */
export function modelsFor(models: readonly CatalogModel[], billing: Billing): readonly CatalogModel[] {
  const rerouted = new Set(billing === 'PayAsYouGo' ? [] : models.flatMap(({ planAliases = [] }) => planAliases));
  return models
    .filter(({ name }) => !rerouted.has(name))
    .map(({ name, aliases, suffixes, planAliases = [] }) => ({
      name,
      aliases: [
        ...aliases.filter((alias) => !rerouted.has(alias)),
        ...planAliases.filter((alias) => rerouted.has(alias)),
      ],
      suffixes,
    }));
}

/**
 * Names in prices, coefficients and promotions under which no model is listed, sorted: most likely a typing error, by
 * which calls of the model that was meant would count nothing.
 */
export function unknownModels({ models, prices, credits, schedule }: Catalog): readonly string[] {
  const known = new Set([...models.map(({ name }) => name), OTHER_MODEL]);
  const named = [...prices, ...credits].map(({ model }) => model);
  named.push(...schedule.promotions.flatMap((promotion) => promotion.models));
  return [...new Set(named)].filter((name) => !known.has(name)).toSorted();
}

function scheduleOf(spec: ScheduleSpec): CatalogSchedule {
  return {
    timeZone: spec.timeZone ?? 'UTC',
    peak: spec.peak ?? [],
    peakFactorPpm: spec.peakFactorPpm ?? FULL_RATE_PPM,
    offPeakFactorPpm: spec.offPeakFactorPpm ?? FULL_RATE_PPM,
    promotions: spec.promotions,
  };
}
