/** The catalog that ships, parsed as the operator parses it. */
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { parse } from 'yaml';
import { parseGlmCatalog, type GlmCatalogSpec } from '#operator/api/v1alpha1/glmcatalog.ts';
import { describeProblems } from '#operator/api/v1alpha1/parse.ts';
import { catalogOf, modelsFor } from '#operator/trees/catalog.ts';
import type { Catalog } from '#sidecar/catalog/terms.ts';
import type { Billing } from '#sidecar/control/terms.ts';

const file = resolve(import.meta.dirname, '../../operator/controllers/glmcatalog/default.yaml');

export function defaultCatalogObject(): unknown {
  return parse(readFileSync(file, 'utf8'));
}

export function defaultCatalogSpec(): GlmCatalogSpec {
  const parsed = parseGlmCatalog(defaultCatalogObject());
  if (!parsed.ok) throw new Error(describeProblems(parsed.problems));
  return parsed.value.spec;
}

/** As a sidecar of an account with this billing gets it. */
export function defaultCatalog(billing: Billing = 'CodingPlan'): Catalog {
  const catalog = catalogOf(defaultCatalogSpec());
  return { ...catalog, models: modelsFor(catalog.models, billing) };
}
