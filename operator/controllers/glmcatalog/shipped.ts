/** The catalog this operator ships. */
import { readFileSync } from 'node:fs';
import { parse } from 'yaml';
import { CONTENT_VERSION_ANNOTATION, DEFAULT_CATALOG, parseGlmCatalog } from '../../api/v1alpha1/glmcatalog.ts';
import { describeProblems } from '../../api/v1alpha1/parse.ts';
import { API_VERSION } from '../../api/v1alpha1/resource.ts';
import { AppError } from '../../../sidecar/base/errors.ts';

export interface ShippedCatalog {
  readonly contentVersion: string;
  /** As the file states it, for server-side apply. */
  readonly spec: unknown;
}

/** Reads `default.yaml` beside this module (in the image: beside the bundle). Fails with `internal`: it is ours. */
export function readShippedCatalog(file: URL = new URL('default.yaml', import.meta.url)): ShippedCatalog {
  const object: unknown = parse(readFileSync(file, 'utf8'));
  const parsed = parseGlmCatalog(object);
  if (!parsed.ok) throw new AppError('internal', `the shipped catalog is wrong: ${describeProblems(parsed.problems)}`);
  const { metadata, apiVersion } = parsed.value;
  const contentVersion = metadata.annotations[CONTENT_VERSION_ANNOTATION];
  if (metadata.name !== DEFAULT_CATALOG || apiVersion !== API_VERSION || contentVersion === undefined) {
    throw new AppError('internal', 'the shipped catalog lacks its name or its content version');
  }
  return { contentVersion, spec: (object as { spec: unknown }).spec };
}
