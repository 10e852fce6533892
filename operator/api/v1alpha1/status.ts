/** What controllers write into status; the field lists are compared with the CRDs by a test. */
import type { Resource } from '../../../sidecar/engine/tree-terms.ts';

interface Condition {
  readonly type: string;
  readonly status: 'True' | 'False' | 'Unknown';
  readonly observedGeneration: number;
  /** RFC 3339, seconds. */
  readonly lastTransitionTime: string;
  readonly reason: string;
  readonly message: string;
}

/** The tightest limit of a name on the path from the account to this node. */
export interface EffectiveLimit {
  readonly name: string;
  readonly resource: Resource;
  /** As people write it: `40`, `2.5`. */
  readonly amount: string;
  /** `Anchored 5h`, `Sliding 1m`, `Calendar Day Asia/Shanghai`. */
  readonly window: string;
  /** The node that sets it. */
  readonly node: string;
}

export interface LimitUsage {
  readonly limit: string;
  readonly resource: Resource;
  readonly amount: string;
  readonly used: string;
  readonly reserved: string;
  /** Used and reserved of the amount, whole percent, floored; above 100 after an overdraft. */
  readonly percent: number;
  /** RFC 3339; absent while the window is not open or has no reset. */
  readonly resetsAt?: string;
}

export interface ModelConcurrency {
  readonly name: string;
  readonly limit: number;
  readonly inFlight: number;
  /** Absent: none. */
  readonly queued?: number;
  /** Absent: closed. */
  readonly breaker?: 'Open' | 'HalfOpen';
}

export interface ConcurrencyStatus {
  /** Absent: no limit of its own. */
  readonly limit?: number;
  readonly inFlight: number;
  /** Calls that wait with this node on their path. */
  readonly queued: number;
  /** RFC 3339: when the call began to wait that has waited longest; absent while none waits. */
  readonly oldestWait?: string;
  /** RFC 3339: when `limit` last changed; absent: it never did. */
  readonly lastChange?: string;
  /** On accounts: every model with calls in flight or waiting, or with a breaker that is not closed. */
  readonly models?: readonly ModelConcurrency[];
}

/** What became of the annotation `glmquota.io/reset-window`. */
export interface ResetStatus {
  /** The annotation's value. */
  readonly request: string;
  readonly result: 'Done' | 'NoSuchLimit' | 'Malformed' | 'Outdated';
  /** RFC 3339. */
  readonly at: string;
}

/** What became of the annotation `glmquota.io/planned-move`. */
export interface MoveStatus {
  /** The annotation's value. */
  readonly request: string;
  readonly result: 'Declared' | 'NoCluster' | 'Malformed' | 'Outdated' | 'TooFar';
  /** RFC 3339. */
  readonly at: string;
}

/** Status of GLMAccount and of GLMQuota. */
export interface NodeStatus {
  readonly observedGeneration: number;
  readonly conditions: readonly Condition[];
  readonly effective?: readonly EffectiveLimit[];
  readonly usage?: readonly LimitUsage[];
  /** The largest `usage[].percent`, for the column. */
  readonly usedPercent?: number;
  readonly concurrency?: ConcurrencyStatus;
  /** `<node>/<limit>` that refuses calls of this node now. */
  readonly blockedBy?: string;
  /** RFC 3339: when that limit may admit again, if it is known. */
  readonly until?: string;
  readonly reset?: ResetStatus;
  /** On accounts. */
  readonly plannedMove?: MoveStatus;
  /** `<leaseCreatedMs>.<transitions>.<generation>` of the tree in Redis. */
  readonly revision?: string;
}

export interface PoolStatus {
  readonly observedGeneration: number;
  readonly conditions: readonly Condition[];
  /** Pods that exist. */
  readonly replicas: number;
  readonly readyReplicas: number;
  /** Label selector of the pods in string form, for /scale. */
  readonly selector: string;
}

/** Status of GLMCatalog. */
export interface CatalogStatus {
  readonly observedGeneration: number;
  readonly conditions: readonly Condition[];
  /** Of the annotation `glmquota.io/content-version`; absent where there is none. */
  readonly contentVersion?: string;
}

type Scalar = string | number | boolean;
type Join<Prefix extends string, T> = { [K in keyof T & string]-?: Field<`${Prefix}${K}`, NonNullable<T[K]>> }[keyof T &
  string];
type Field<Path extends string, T> = T extends Scalar
  ? Path
  : T extends readonly (infer Item)[]
    ? Path | Join<`${Path}[].`, Item>
    : Path | Join<`${Path}.`, T>;
/** Dotted paths of every field of a type, `[]` after a list. */
type Paths<T> = Join<'', T>;

/** Every field of the status of quotas; the compiler holds this equal to the type. */
export const QUOTA_STATUS_FIELDS: Readonly<Record<Paths<Omit<NodeStatus, 'plannedMove'>>, true>> = {
  observedGeneration: true,
  conditions: true,
  'conditions[].type': true,
  'conditions[].status': true,
  'conditions[].observedGeneration': true,
  'conditions[].lastTransitionTime': true,
  'conditions[].reason': true,
  'conditions[].message': true,
  effective: true,
  'effective[].name': true,
  'effective[].resource': true,
  'effective[].amount': true,
  'effective[].window': true,
  'effective[].node': true,
  usage: true,
  'usage[].limit': true,
  'usage[].resource': true,
  'usage[].amount': true,
  'usage[].used': true,
  'usage[].reserved': true,
  'usage[].percent': true,
  'usage[].resetsAt': true,
  usedPercent: true,
  concurrency: true,
  'concurrency.limit': true,
  'concurrency.inFlight': true,
  'concurrency.queued': true,
  'concurrency.oldestWait': true,
  'concurrency.lastChange': true,
  'concurrency.models': true,
  'concurrency.models[].name': true,
  'concurrency.models[].limit': true,
  'concurrency.models[].inFlight': true,
  'concurrency.models[].queued': true,
  'concurrency.models[].breaker': true,
  blockedBy: true,
  until: true,
  reset: true,
  'reset.request': true,
  'reset.result': true,
  'reset.at': true,
  revision: true,
};

/** Every field of the status of accounts. */
export const ACCOUNT_STATUS_FIELDS: Readonly<Record<Paths<NodeStatus>, true>> = {
  ...QUOTA_STATUS_FIELDS,
  plannedMove: true,
  'plannedMove.request': true,
  'plannedMove.result': true,
  'plannedMove.at': true,
};

/** Every field of the status of pools. */
export const POOL_STATUS_FIELDS: Readonly<Record<Paths<PoolStatus>, true>> = {
  observedGeneration: true,
  conditions: true,
  'conditions[].type': true,
  'conditions[].status': true,
  'conditions[].observedGeneration': true,
  'conditions[].lastTransitionTime': true,
  'conditions[].reason': true,
  'conditions[].message': true,
  replicas: true,
  readyReplicas: true,
  selector: true,
};

/** Every field of the status of catalogs. */
export const CATALOG_STATUS_FIELDS: Readonly<Record<Paths<CatalogStatus>, true>> = {
  observedGeneration: true,
  conditions: true,
  'conditions[].type': true,
  'conditions[].status': true,
  'conditions[].observedGeneration': true,
  'conditions[].lastTransitionTime': true,
  'conditions[].reason': true,
  'conditions[].message': true,
  contentVersion: true,
};
