/** Pods in the cache: only what edge looks at is kept of them. */
import { LABEL_POOL } from '../api/v1alpha1/labels.ts';
import type { KubeObject } from '../runtime/resources.ts';
import type { Store } from '../runtime/store.ts';
import { objectId } from '../trees/names.ts';
import type { PodFacts, PodSource, SidecarFacts } from './terms.ts';

/** As the injector names and fills them (a test holds the two equal). */
export const SIDECAR_NAME = 'glmquota-sidecar';
export const BINDING_VARIABLE = 'GLMQUOTA_BINDING';
const PER_AGENT_VARIABLE = 'GLMQUOTA_PER_AGENT_CONCURRENCY';

interface ContainerShape {
  readonly name?: unknown;
  readonly image?: unknown;
  readonly restartPolicy?: unknown;
  readonly env?: readonly { readonly name?: unknown; readonly value?: unknown; readonly valueFrom?: unknown }[];
}

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

function readSidecar(containers: readonly ContainerShape[]): SidecarFacts | null {
  const found = containers.find(({ name }) => name === SIDECAR_NAME);
  if (!found || found.restartPolicy !== 'Always' || typeof found.image !== 'string') return null;
  const binding = literal(found, BINDING_VARIABLE);
  const perAgent = Number(literal(found, PER_AGENT_VARIABLE) ?? 0);
  return {
    image: found.image,
    binding: binding !== null && /^[^/]+\/[^/]+$/.test(binding) ? binding : null,
    perAgentConcurrency: Number.isSafeInteger(perAgent) && perAgent > 0 ? perAgent : null,
  };
}

/** A value that stands in the pod itself, once: others could come from somewhere that changes, or hide one another. */
function literal(container: ContainerShape, variable: string): string | null {
  const entries = (container.env ?? []).filter(({ name }) => name === variable);
  const [entry] = entries;
  if (entries.length !== 1 || entry?.valueFrom !== undefined || typeof entry?.value !== 'string') return null;
  return entry.value;
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
