/** Condition reasons: stable words that people, scripts and alerts match on. Adding one is an API change. */

/** Reasons of `Active` on GLMAccount and GLMQuota; `Ready` repeats the reason that holds it back. */
export type ActiveReason =
  | 'QuotaActive'
  | 'Stopped'
  | 'ParentNotFound'
  | 'ParentNotGranted'
  | 'ParentStopped'
  | 'CycleDetected'
  | 'CredentialMissing'
  | 'CredentialInvalid'
  | 'OriginNotAllowed'
  | 'DuplicateAccount'
  | 'TreeKeyConflict'
  | 'UnknownCatalog'
  | 'UnknownPlan'
  | 'UnknownModel'
  | 'InvalidLimits'
  | 'TooDeep';

/** Reasons of `Synced`: whether Redis holds what the specs say. */
export type SyncedReason = 'Applied' | 'StoreUnavailable' | 'TreeKeyConflict' | 'NotCompiled';

/** Reasons of `Overcommitted`: whether children are given more than their node has. Informs only. */
export type OvercommittedReason = 'WithinLimits' | 'ChildrenExceedLimits';

/** Reasons of `Ready` on AgentPool. */
export type PoolReason =
  | 'PodsReady'
  | 'PodsNotReady'
  | 'QuotaNotFound'
  | 'QuotaNotGranted'
  | 'QuotaNotReady'
  | 'QuotaNotBindable'
  | 'AccountNotFound'
  | 'KeyDeliveryForbidden'
  | 'CredentialMissing'
  | 'InvalidTemplate'
  | 'ApplyFailed';
