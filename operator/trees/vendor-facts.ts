/** What an account's catalog says of the vendor: its models as the account meets them, and its peak hours. */
import { OTHER_MODEL, type CatalogModel, type CatalogSchedule } from '../../sidecar/catalog/terms.ts';

export interface VendorFacts {
  /** The catalog's name. */
  readonly catalog: string;
  readonly models: readonly CatalogModel[];
  readonly schedule: CatalogSchedule;
}

/** Why no call is ever counted under this model name; null: calls can be. */
export function modelFault({ catalog, models }: VendorFacts, name: string): string | null {
  if (models.some((model) => model.name === name)) return null;
  const target = models.find(({ aliases }) => aliases.includes(name));
  if (target) return `calls of ${name} are routed to ${target.name}; write that name`;
  const known = models.map((model) => model.name).join(', ');
  return `GLMCatalog ${catalog} has no model ${name}; it has ${known || 'none'}`;
}

/** As `modelFault`, for a name that may also stand for all models that are not listed. */
export function modelNodeFault(vendor: VendorFacts, name: string): string | null {
  return name === OTHER_MODEL ? null : modelFault(vendor, name);
}
