/** On what terms the calls of a quota's pods are made. */
import type { GlmQuotaSpec } from '../api/v1alpha1/glmquota.ts';
import { lowerClass } from '../api/v1alpha1/waiting.ts';
import type { WaitPolicy } from '../../sidecar/engine/terms.ts';
import type { PriorityClass } from '../../sidecar/engine/tree-terms.ts';
import type { Settings } from './settings.ts';

export interface CallTerms {
  readonly waiting: WaitPolicy;
  readonly class: { readonly default: PriorityClass; readonly max: PriorityClass };
  /** No call runs longer. */
  readonly maxRuntimeMs: number;
  /** A person wants running and waiting calls ended now. */
  readonly isDrained: boolean;
}

/** Where no quota on the path says how long a call may run. */
const MAX_RUNTIME_MS = 3_600_000;

/** `spec`: the quota's own; null when it does not parse. Null for a scope node: no pod is bound to one. */
export function callTerms(spec: GlmQuotaSpec | null, settings: Settings): CallTerms | null {
  const { waiting, maxClass, maxRuntimeMs, isDrained, isScope } = settings;
  if (isScope) return null;
  return {
    waiting: { mode: waiting.mode, maxWaitMs: waiting.maxWaitMs },
    class: { default: lowerClass(spec?.priority.default ?? 'Normal', maxClass), max: maxClass },
    maxRuntimeMs: maxRuntimeMs ?? MAX_RUNTIME_MS,
    isDrained,
  };
}
