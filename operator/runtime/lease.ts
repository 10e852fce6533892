/** The Lease object of coordination.k8s.io, read and written. */
import { AppError } from '../../sidecar/base/errors.ts';
import type { KubeIntent, KubeObject, ResourceType } from './resources.ts';
import { microTime } from './timestamps.ts';

export const LEASES: ResourceType = {
  group: 'coordination.k8s.io',
  version: 'v1',
  plural: 'leases',
  kind: 'Lease',
  namespaced: true,
};

export interface LeaseRecord {
  /** Empty: nobody holds it. */
  readonly holder: string;
  readonly durationSeconds: number;
  readonly acquiredMs: number;
  readonly renewedMs: number;
  /** Counts the changes of holder. */
  readonly transitions: number;
}

export interface Lease {
  readonly resourceVersion: string;
  readonly createdMs: number;
  readonly record: LeaseRecord;
}

/** Reads the object; absent fields, as in a Lease made by hand, read as "held by nobody". */
export function asLease(object: KubeObject): Lease {
  const createdMs = Date.parse(object.metadata.creationTimestamp ?? '');
  if (Number.isNaN(createdMs)) throw new AppError('internal', 'a Lease came without its creation time');
  const spec = (object['spec'] ?? {}) as Readonly<Record<string, unknown>>;
  const integer = (value: unknown): number => (typeof value === 'number' && Number.isSafeInteger(value) ? value : 0);
  const time = (value: unknown): number => (typeof value === 'string' ? Date.parse(value) || 0 : 0);
  return {
    resourceVersion: object.metadata.resourceVersion,
    createdMs,
    record: {
      holder: typeof spec['holderIdentity'] === 'string' ? spec['holderIdentity'] : '',
      durationSeconds: integer(spec['leaseDurationSeconds']),
      acquiredMs: time(spec['acquireTime']),
      renewedMs: time(spec['renewTime']),
      transitions: integer(spec['leaseTransitions']),
    },
  };
}

/** The object to write; with a resourceVersion a compare-and-set. */
export function leaseIntent(
  key: { readonly namespace: string; readonly name: string },
  record: LeaseRecord,
  resourceVersion?: string,
): KubeIntent {
  return {
    apiVersion: 'coordination.k8s.io/v1',
    kind: LEASES.kind,
    metadata: { ...key, ...(resourceVersion === undefined ? {} : { resourceVersion }) },
    spec: {
      holderIdentity: record.holder,
      leaseDurationSeconds: record.durationSeconds,
      acquireTime: microTime(record.acquiredMs),
      renewTime: microTime(record.renewedMs),
      leaseTransitions: record.transitions,
    },
  };
}
