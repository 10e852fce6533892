/** The caches of everything our trees are compiled from, and the reflectors that keep them. */
import { ANNOTATION_ROTATE } from '../../api/v1alpha1/labels.ts';
import { type GlmAccount, parseGlmAccount } from '../../api/v1alpha1/glmaccount.ts';
import { type GlmCatalog, parseGlmCatalog } from '../../api/v1alpha1/glmcatalog.ts';
import { type GlmQuota, parseGlmQuota } from '../../api/v1alpha1/glmquota.ts';
import type { KubeClient, Scope } from '../../runtime/client.ts';
import type { RuntimeMetrics } from '../../runtime/metrics.ts';
import { Reflector } from '../../runtime/reflector.ts';
import type { KubeObject, ResourceType } from '../../runtime/resources.ts';
import { type Change, Store } from '../../runtime/store.ts';
import { CREDENTIAL_TYPE, type CredentialReading, readCredentialFacts } from '../../trees/credentials.ts';
import type { NamespaceLabels } from '../../trees/terms.ts';
import type { Clock } from '../../../sidecar/base/clock.ts';
import type { Log } from '../../../sidecar/base/log.ts';
import type { WorldCaches } from './gather.ts';
import { GLM_ACCOUNTS, GLM_CATALOGS, GLM_QUOTAS, NAMESPACES, observe, type Observed, SECRETS } from './kinds.ts';
import type { World } from './world.ts';

export interface CacheOptions {
  readonly client: KubeClient;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics?: RuntimeMetrics;
}

/** One store with the reflector that fills it. */
export interface Watched<T> {
  readonly store: Store<T>;
  readonly reflector: Reflector;
}

/** A cache of one resource; nothing moves before its reflector runs. */
export function watchResource<T>(
  { client, clock, log, metrics }: CacheOptions,
  type: ResourceType,
  project: (object: KubeObject) => T | null,
  scope?: Scope,
): Watched<T> {
  const store = new Store<T>({ name: type.plural, log, project });
  const options = { client, type, sink: store, clock, log, ...(scope && { scope }), ...(metrics && { metrics }) };
  return { store, reflector: new Reflector(options) };
}

export interface NamespaceFacts {
  readonly name: string;
  readonly labels: NamespaceLabels;
  readonly annotations: Readonly<Record<string, string>>;
}

export interface CredentialFacts {
  readonly facts: CredentialReading;
}

export interface OurCaches<C extends CredentialFacts = CredentialFacts> extends WorldCaches {
  readonly accounts: Store<Observed<GlmAccount>>;
  readonly quotas: Store<Observed<GlmQuota>>;
  readonly catalogs: Store<Observed<GlmCatalog>>;
  readonly credentials: Store<C>;
  readonly namespaces: Store<NamespaceFacts>;
}

export interface OpenCaches<C extends CredentialFacts> {
  readonly caches: OurCaches<C>;
  readonly reflectors: readonly Reflector[];
}

/**
 * Caches for the controller: `readSecret` is what is kept of a Secret of the credential type. Give
 * `credentialFactsOf` where nothing needs the key itself.
 */
export function openCaches<C extends CredentialFacts>(
  options: CacheOptions,
  readSecret: (secret: KubeObject) => C,
): OpenCaches<C> {
  const accounts = watchResource(options, GLM_ACCOUNTS, observe(parseGlmAccount));
  const quotas = watchResource(options, GLM_QUOTAS, observe(parseGlmQuota));
  const catalogs = watchResource(options, GLM_CATALOGS, observe(parseGlmCatalog));
  const namespaces = watchResource(options, NAMESPACES, namespaceFacts);
  const credentials = watchResource(options, SECRETS, readSecret, { fieldSelector: `type=${CREDENTIAL_TYPE}` });
  const watched = [accounts, quotas, catalogs, namespaces, credentials];
  return {
    caches: {
      accounts: accounts.store,
      quotas: quotas.store,
      catalogs: catalogs.store,
      namespaces: namespaces.store,
      credentials: credentials.store,
    },
    reflectors: watched.map(({ reflector }) => reflector),
  };
}

/** The facts without the key. */
export function credentialFactsOf(secret: KubeObject): CredentialFacts {
  return { facts: readCredentialFacts(secret) };
}

function namespaceFacts({ metadata }: KubeObject): NamespaceFacts {
  return { name: metadata.name, labels: metadata.labels ?? {}, annotations: metadata.annotations ?? {} };
}

/** Has the world compiled whenever a cache changes in what it is compiled from. Ends with the signal. */
export function feedWorld<C extends CredentialFacts>(world: World, caches: OurCaches<C>, signal: AbortSignal): void {
  const touch = (): void => world.touch();
  const touchUnlessStatus = (change: Change<Observed<unknown>>): void => {
    // Our own status writes come back as updates.
    const same = (of: (value: Observed<unknown>) => unknown): boolean =>
      change.kind === 'updated' && of(change.current.value) === of(change.previous.value);
    const isStatus = same(({ generation }) => generation) && same((each) => each.annotations[ANNOTATION_ROTATE]);
    if (!isStatus) touch();
  };
  const subscriptions = [
    caches.accounts.subscribe(touchUnlessStatus),
    caches.quotas.subscribe(touchUnlessStatus),
    caches.catalogs.subscribe(touchUnlessStatus),
    caches.credentials.subscribe(touch),
    caches.namespaces.subscribe(touch),
  ];
  // A cache that syncs empty has no change to tell.
  for (const cache of [caches.accounts, caches.quotas, caches.catalogs, caches.credentials, caches.namespaces]) {
    cache.waitSynced(signal).then(touch, () => undefined);
  }
  const stop = (): void => subscriptions.forEach((subscription) => subscription[Symbol.dispose]());
  if (signal.aborted) stop();
  else signal.addEventListener('abort', stop, { once: true });
}
