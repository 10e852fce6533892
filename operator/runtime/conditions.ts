/** Conditions by the API conventions: one per type, a reason each, a time that moves only when the status does. */
import { secondTime } from './timestamps.ts';

export interface Condition {
  readonly type: string;
  readonly status: 'True' | 'False' | 'Unknown';
  /** CamelCase word for machines. */
  readonly reason: string;
  readonly message: string;
  readonly lastTransitionTime: string;
  readonly observedGeneration: number;
}

export type ConditionState = Omit<Condition, 'lastTransitionTime' | 'observedGeneration'>;

/**
 * The conditions as they are to be written: the given states in their order, with the old transition time where the
 * status is the same. Types that are no longer given are left out.
 */
export function nextConditions(
  old: readonly Condition[],
  states: readonly ConditionState[],
  at: { readonly generation: number; readonly nowMs: number },
): Condition[] {
  return states.map((state) => {
    const before = old.find((condition) => condition.type === state.type);
    return {
      ...state,
      lastTransitionTime: before?.status === state.status ? before.lastTransitionTime : secondTime(at.nowMs),
      observedGeneration: at.generation,
    };
  });
}

export interface Transition {
  readonly from: Condition | undefined;
  readonly to: Condition;
}

/** Where status or reason changed: what is worth an Event. */
export function transitionsBetween(old: readonly Condition[], next: readonly Condition[]): Transition[] {
  return next.flatMap((to) => {
    const from = old.find((condition) => condition.type === to.type);
    return from?.status === to.status && from.reason === to.reason ? [] : [{ from, to }];
  });
}

/** Reads conditions out of a status as the API server sent it; what is malformed is left out. */
export function readConditions(status: unknown): Condition[] {
  if (typeof status !== 'object' || status === null || !('conditions' in status)) return [];
  const list: unknown = status.conditions;
  return Array.isArray(list) ? list.flatMap((each) => (isCondition(each) ? [each] : [])) : [];
}

function isCondition(value: unknown): value is Condition {
  if (typeof value !== 'object' || value === null) return false;
  const fields = value as Readonly<Record<string, unknown>>;
  return ['type', 'status', 'reason', 'message', 'lastTransitionTime'].every(
    (name) => typeof fields[name] === 'string',
  );
}
