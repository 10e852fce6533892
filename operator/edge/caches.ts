/** The operator's caches and its engine as edge's ports. */
import type { AdminEngine } from '../../sidecar/engine/port.ts';
import type { TreeConfig } from '../../sidecar/engine/terms.ts';
import type { KubeObject } from '../runtime/resources.ts';
import type { Store } from '../runtime/store.ts';
import { type Credential, type CredentialReading, readCredential, readCredentialFacts } from '../trees/credentials.ts';
import { objectId } from '../trees/names.ts';
import type { NamespaceLabels } from '../trees/terms.ts';
import type { CacheView, TreeRevisions } from './terms.ts';

/** What edge keeps of a Secret of the credential type: besides the facts the key itself, which it hands to sidecars. */
export interface KeptCredential {
  readonly facts: CredentialReading;
  /** Null: the Secret is malformed, `facts` says how. */
  readonly credential: Credential | null;
}

export function keepCredential(secret: KubeObject): KeptCredential {
  const read = readCredential(secret);
  return { facts: readCredentialFacts(secret), credential: read.ok ? read.credential : null };
}

/** Labels are kept by name as they change: they are asked for with every decision. */
export function cacheView(stores: {
  readonly credentials: Pick<Store<KeptCredential>, 'get'>;
  readonly namespaces: Pick<Store<{ readonly labels: NamespaceLabels }>, 'subscribe'>;
}): CacheView & Disposable {
  const labels = new Map<string, NamespaceLabels>();
  const subscription = stores.namespaces.subscribe((change) => {
    if (change.kind === 'deleted') labels.delete(change.previous.key);
    else labels.set(change.current.key, change.current.value.labels);
  });
  return {
    namespaces: () => labels,
    credential: (secret) => stores.credentials.get(objectId(secret))?.credential ?? null,
    [Symbol.dispose]: () => subscription[Symbol.dispose](),
  };
}

/** What Redis holds, asked through the engine. A tree's hash is computed once. */
export function treeRevisions(engine: Pick<AdminEngine, 'snapshot' | 'hashOf'>): TreeRevisions {
  const hashes = new WeakMap<TreeConfig, string>();
  return {
    read: async (key, signal) => {
      const snapshot = await engine.snapshot(key, signal);
      return snapshot && { revision: snapshot.revision, configHash: snapshot.configHash };
    },
    hashOf: (tree) => {
      const known = hashes.get(tree) ?? engine.hashOf(tree);
      hashes.set(tree, known);
      return known;
    },
  };
}
