/** From the name a client asks for to the model the vendor counts. */
import type { CatalogModel } from './terms.ts';

export interface Route {
  /** The routed model; a name the catalog does not know stays as it is. */
  readonly model: string;
  readonly known: boolean;
}

/**
 * The model that `requestModel` is served by: an alias wins over a name, a model's suffix (such as `[1m]`) is cut off
 * when the name as it stands is unknown. Letter case does not matter; model names in the catalog are lower case.
 */
export function route(catalog: { readonly models: readonly CatalogModel[] }, requestModel: string): Route {
  const name = requestModel.trim().toLowerCase();
  const direct = find(catalog.models, name);
  if (direct) return { model: direct.name, known: true };
  for (const { suffixes } of catalog.models) {
    for (const suffix of suffixes) {
      if (suffix === '' || !name.endsWith(suffix)) continue;
      const target = find(catalog.models, name.slice(0, -suffix.length));
      // The suffix must be one of the model that is meant: `[1m]` of another model says nothing about this one.
      if (target?.suffixes.includes(suffix)) return { model: target.name, known: true };
    }
  }
  return { model: requestModel, known: false };
}

function find(models: readonly CatalogModel[], name: string): CatalogModel | undefined {
  return models.find((model) => model.aliases.includes(name)) ?? models.find((model) => model.name === name);
}
