/** What the leader keeps of pods that have our sidecar. */
import type { KubeObject } from '../../runtime/resources.ts';
import { type ContainerShape, readSidecar } from '../../trees/sidecar-facts.ts';

/** `open`: it works; `draining`: it was told to end; `gone`: its containers have ended, or its node is lost. */
export type PodState = 'open' | 'draining' | 'gone';

export interface ObservedPod {
  readonly uid: string;
  /** `namespace/name` of the GLMQuota. */
  readonly quota: string;
  readonly state: PodState;
}

interface PodShape {
  readonly spec?: { readonly initContainers?: readonly ContainerShape[] };
  readonly status?: { readonly phase?: string; readonly reason?: string };
}

const ENDED = ['Succeeded', 'Failed', 'Unknown'];

/** Null: it is bound to nothing, so that it has neither leases nor waiters. */
export function observePod(object: KubeObject): ObservedPod | null {
  const { spec, status } = object as unknown as PodShape;
  const quota = readSidecar(spec?.initContainers ?? [])?.binding ?? null;
  return quota === null ? null : { uid: object.metadata.uid, quota, state: stateOf(object, status) };
}

/**
 * A node that merely does not answer the API server is not lost: its sidecars may well go on calling the vendor, and
 * keep their leases as long as they reach Redis. Kubernetes says what it knows to be lost.
 */
function stateOf({ metadata }: KubeObject, status: PodShape['status']): PodState {
  if (ENDED.includes(status?.phase ?? '') || status?.reason === 'NodeLost') return 'gone';
  return metadata.deletionTimestamp === undefined ? 'open' : 'draining';
}
