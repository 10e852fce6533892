/** Pods in the cache: only what edge looks at is kept of them. */
import { LABEL_POOL } from '../api/v1alpha1/labels.ts';
import type { KubeObject } from '../runtime/resources.ts';
import type { Store } from '../runtime/store.ts';
import { objectId } from '../trees/names.ts';
import { type ContainerShape, readSidecar } from '../trees/sidecar-facts.ts';
import type { PodFacts, PodSource } from './terms.ts';

interface PodShape {
  readonly spec?: {
    readonly serviceAccountName?: string;
    readonly initContainers?: readonly ContainerShape[];
  };
  readonly status?: {
    readonly phase?: string;
    readonly podIP?: string;
    readonly podIPs?: readonly { readonly ip?: string }[];
  };
}

/** What a Store of pods keeps. */
export function projectPod(object: KubeObject): PodFacts {
  const { spec, status } = object as unknown as PodShape;
  const { namespace = '', name, uid } = object.metadata;
  return {
    namespace,
    name,
    uid,
    serviceAccount: spec?.serviceAccountName ?? 'default',
    addresses: addressesOf(status),
    ended: status?.phase === 'Succeeded' || status?.phase === 'Failed',
    sidecar: readSidecar(spec?.initContainers ?? []),
    pool: object.metadata.labels?.[LABEL_POOL] || null,
  };
}

function addressesOf(status: PodShape['status']): readonly string[] {
  const reported = [status?.podIP, ...(status?.podIPs ?? []).map(({ ip }) => ip)];
  return [...new Set(reported.flatMap((ip) => ip || []))];
}

/** The store as a port: one subscription, many watchers. */
export function podSource(store: Store<PodFacts>): PodSource & Disposable {
  const watchers = new Map<string, Set<() => void>>();
  const subscription = store.subscribe((change) => {
    const { key } = change.kind === 'deleted' ? change.previous : change.current;
    for (const listener of Array.from(watchers.get(key) ?? [])) listener();
  });
  return {
    get: (key) => store.get(objectId(key)) ?? null,
    watch: (key, listener) => {
      const id = objectId(key);
      const listeners = watchers.get(id) ?? new Set();
      watchers.set(id, listeners.add(listener));
      return {
        [Symbol.dispose]: () => {
          listeners.delete(listener);
          if (listeners.size === 0) watchers.delete(id);
        },
      };
    },
    [Symbol.dispose]: () => subscription[Symbol.dispose](),
  };
}
