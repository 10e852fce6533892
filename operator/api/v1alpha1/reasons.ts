/** Condition types and reasons: stable words that people, scripts and alerts match on. Adding one is an API change. */

export const CONDITION_TYPES = [
  /** Summary: what the object asks for is in force. */
  'Ready',
  /** The spec is good and its node may grant. */
  'Active',
  /** Redis holds what the specs say. */
  'Synced',
  /** The children of this node are given more than it has. Informs only. */
  'Overcommitted',
] as const;
export type ConditionType = (typeof CONDITION_TYPES)[number];

/** Reasons of `Active` on GLMAccount and GLMQuota; `Ready` repeats the reason that holds it back. */
export const ACTIVE_REASONS = [
  'QuotaActive',
  'Stopped',
  'ParentNotFound',
  'ParentNotGranted',
  'ParentStopped',
  'CycleDetected',
  'CredentialMissing',
  'CredentialInvalid',
  'OriginNotAllowed',
  'DuplicateAccount',
  'TreeKeyConflict',
  'UnknownCatalog',
  'UnknownPlan',
  'InvalidLimits',
  'TooDeep',
  'StoreUnavailable',
] as const;
export type ActiveReason = (typeof ACTIVE_REASONS)[number];

/** Reasons of `Synced`. */
export type SyncedReason = 'Applied' | 'StoreUnavailable' | 'TreeKeyConflict' | 'NotCompiled' | 'Fenced';

/** Reasons of `Overcommitted`. */
export type OvercommittedReason = 'WithinLimits' | 'ChildrenExceedLimits';

/** Reasons of `Ready` on AgentPool. */
export type PoolReason =
  | 'PodsReady'
  | 'PodsNotReady'
  | 'QuotaNotFound'
  | 'QuotaNotGranted'
  | 'QuotaNotReady'
  | 'KeyDeliveryForbidden'
  | 'InvalidTemplate'
  | 'ApplyFailed';
