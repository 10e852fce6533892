/** From caches to what trees are compiled from. */
import type { GlmAccount } from '../../api/v1alpha1/glmaccount.ts';
import { DEFAULT_CATALOG, type GlmCatalog } from '../../api/v1alpha1/glmcatalog.ts';
import type { GlmQuota } from '../../api/v1alpha1/glmquota.ts';
import { catalogOf, mergeCatalogs } from '../../trees/catalog.ts';
import type { CredentialReading } from '../../trees/credentials.ts';
import type { CompileInput, InvalidObject, NamespaceLabels } from '../../trees/terms.ts';
import type { Catalog } from '../../../sidecar/catalog/terms.ts';
import type { Observed } from './kinds.ts';

/** What this needs of a store. */
export interface Cache<T> {
  readonly hasSynced: boolean;
  entries(): Iterable<{ readonly key: string; readonly value: T }>;
}

export interface WorldCaches {
  readonly accounts: Cache<Observed<GlmAccount>>;
  readonly quotas: Cache<Observed<GlmQuota>>;
  readonly catalogs: Cache<Observed<GlmCatalog>>;
  /** What `readCredentialFacts` found, never a key. */
  readonly credentials: Cache<{ readonly facts: CredentialReading }>;
  readonly namespaces: Cache<{ readonly labels: NamespaceLabels }>;
}

export type GatheredInput = Pick<
  CompileInput,
  'accounts' | 'quotas' | 'invalid' | 'catalogs' | 'credentials' | 'namespaces'
>;

/** `lastGood`: the catalogs of the gathering before; one whose object no longer parses stays as it was. */
export function gatherInput(caches: WorldCaches, lastGood: ReadonlyMap<string, Catalog>): GatheredInput {
  const accounts = split(caches.accounts, 'GLMAccount');
  const quotas = split(caches.quotas, 'GLMQuota');
  return {
    accounts: accounts.good,
    quotas: quotas.good,
    invalid: [...accounts.bad, ...quotas.bad],
    catalogs: usableCatalogs(caches.catalogs, lastGood),
    credentials: mapOf(caches.credentials, ({ facts }) => facts),
    namespaces: mapOf(caches.namespaces, ({ labels }) => labels),
  };
}

/** Which object, and which spec of it. */
export type ObjectVersion = Pick<Observed<unknown>, 'uid' | 'generation'>;

/** Versions of accounts and quotas as they were gathered, by `versionKey`. */
export function versionsOf(caches: Pick<WorldCaches, 'accounts' | 'quotas'>): ReadonlyMap<string, ObjectVersion> {
  const read = ({ value }: { value: Observed<unknown> }, kind: NodeKind): readonly [string, ObjectVersion] => [
    versionKey(kind, `${value.namespace}/${value.name}`),
    { uid: value.uid, generation: value.generation },
  ];
  return new Map([
    ...Array.from(caches.accounts.entries(), (entry) => read(entry, 'GLMAccount')),
    ...Array.from(caches.quotas.entries(), (entry) => read(entry, 'GLMQuota')),
  ]);
}

export type NodeKind = InvalidObject['kind'];

export function versionKey(kind: NodeKind, id: string): string {
  return `${kind} ${id}`;
}

function split<T>(cache: Cache<Observed<T>>, kind: InvalidObject['kind']): { good: T[]; bad: InvalidObject[] } {
  const good: T[] = [];
  const bad: InvalidObject[] = [];
  for (const { value } of cache.entries()) {
    const { namespace, name, uid, parsed } = value;
    if (parsed.ok) good.push(parsed.value);
    else bad.push({ kind, namespace, name, uid, problems: parsed.problems });
  }
  return { good, bad };
}

function mapOf<T, Out>(cache: Cache<T>, read: (value: T) => Out): ReadonlyMap<string, Out> {
  return new Map(Array.from(cache.entries(), ({ key, value }) => [key, read(value)] as const));
}

function usableCatalogs(
  cache: Cache<Observed<GlmCatalog>>,
  lastGood: ReadonlyMap<string, Catalog>,
): ReadonlyMap<string, Catalog> {
  const observed = new Map(Array.from(cache.entries(), ({ key, value }) => [key, value.parsed] as const));
  const base = observed.get(DEFAULT_CATALOG);
  const usable = new Map<string, Catalog>();
  for (const [name, parsed] of observed) {
    const spec = parsed.ok ? parsed.value.spec : null;
    const whole = spec?.extends === null ? spec : spec && base?.ok ? mergeCatalogs(base.value.spec, spec) : null;
    const catalog = whole ? catalogOf(whole) : lastGood.get(name);
    if (catalog) usable.set(name, catalog);
  }
  return usable;
}
