/** The conditions of accounts and quotas, from what was compiled and what is in Redis. */
import type { ActiveReason, OvercommittedReason, SyncedReason } from '../../api/v1alpha1/reasons.ts';
import type { ConditionState } from '../../runtime/conditions.ts';
import type { NodeVerdict, Overcommitment } from '../../trees/terms.ts';
import type { SyncState } from './sync-state.ts';

/** Messages longer than this are cut by us rather than refused by the API server. */
const MESSAGE_LENGTH = 4096;

export interface ConditionFacts {
  readonly verdict: NodeVerdict;
  readonly overcommitted: Overcommitment;
  /** Of the object's tree; `none` for an object that is in no tree. */
  readonly sync: SyncState;
}

/** Ready first; it is True exactly when Active and Synced are. */
export function planConditions(facts: ConditionFacts): ConditionState[] {
  const active = activeState(facts);
  const synced = syncedState(facts.sync);
  const holding = [active, synced].find(({ status }) => status !== 'True') ?? active;
  const ready = { ...holding, type: 'Ready' };
  return [ready, active, synced, overcommittedState(facts.overcommitted)].map((state) => ({
    ...state,
    message: state.message.slice(0, MESSAGE_LENGTH),
  }));
}

function activeState({ verdict, sync }: ConditionFacts): ConditionState {
  const state = (active: boolean, reason: ActiveReason, message: string): ConditionState => ({
    type: 'Active',
    status: active ? 'True' : 'False',
    reason,
    message,
  });
  if (verdict.active && sync.kind === 'conflict') return state(false, 'TreeKeyConflict', conflictMessage(sync.account));
  return state(verdict.active, verdict.reason, verdict.message);
}

function syncedState(sync: SyncState): ConditionState {
  const state = (synced: boolean, reason: SyncedReason, message: string): ConditionState => ({
    type: 'Synced',
    status: synced ? 'True' : 'False',
    reason,
    message,
  });
  switch (sync.kind) {
    case 'applied':
      return state(true, 'Applied', 'Redis holds what the specs say');
    case 'away':
      return state(false, 'StoreUnavailable', `Redis cannot be reached: ${sync.message}`);
    case 'conflict':
      return state(false, 'TreeKeyConflict', conflictMessage(sync.account));
    case 'none':
      return state(false, 'NotCompiled', 'there is no tree to put into Redis; see condition Active');
  }
}

function conflictMessage(account: string): string {
  return `its place in Redis belongs to GLMAccount ${account}; delete that one or use another Redis`;
}

function overcommittedState(overcommitted: Overcommitment): ConditionState {
  const reason: OvercommittedReason = overcommitted === null ? 'WithinLimits' : 'ChildrenExceedLimits';
  return {
    type: 'Overcommitted',
    status: overcommitted === null ? 'False' : 'True',
    reason,
    message: overcommitted ?? 'nothing below is given more than this has',
  };
}
