/** What a node hands down to those below it, besides its limits. */
import type { GlmAccountSpec } from '../api/v1alpha1/glmaccount.ts';
import type { GlmQuotaSpec } from '../api/v1alpha1/glmquota.ts';
import { MAX_WEIGHT } from '../api/v1alpha1/fields.ts';
import {
  DEFAULT_THRESHOLDS,
  DEFAULT_WAITING,
  lowerClass,
  type Thresholds,
  type WaitingSpec,
} from '../api/v1alpha1/waiting.ts';
import type { WaitPolicy } from '../../sidecar/engine/terms.ts';
import type { NodeConfig, PriorityClass } from '../../sidecar/engine/tree-terms.ts';
import type { Inheritance } from './limits.ts';
import type { Moment } from './moment.ts';
import { isDrained } from './stops.ts';

export interface Settings {
  readonly waiting: WaitPolicy & { readonly maxLength: number };
  readonly thresholds: Thresholds;
  /** The shortest of this node and those above; null: none of them says. */
  readonly maxRuntimeMs: number | null;
  /** The lowest of this node and those above. */
  readonly maxClass: PriorityClass;
  /** What quotas directly below may weigh. */
  readonly maxWeight: number;
  /** A person wants the calls here and below ended now. */
  readonly isDrained: boolean;
  /** A scope node: it has no pods, and only scope nodes hang under it. */
  readonly isScope: boolean;
}

/** What holds below a node. */
export interface Above {
  readonly limits: Inheritance;
  readonly settings: Settings;
}

const DEFAULTS: Settings = {
  waiting: DEFAULT_WAITING,
  thresholds: DEFAULT_THRESHOLDS,
  maxRuntimeMs: null,
  maxClass: 'System',
  maxWeight: MAX_WEIGHT,
  isDrained: false,
  isScope: false,
};

export function accountSettings(spec: GlmAccountSpec, moment: Moment): Settings {
  return {
    ...DEFAULTS,
    waiting: inheritWaiting(spec.waiting, DEFAULTS.waiting),
    thresholds: spec.alerts ?? DEFAULTS.thresholds,
    maxWeight: spec.children.maxWeight,
    isDrained: isDrained(spec.stop, moment),
  };
}

/** Of an account whose object does not parse; `node`: what is in force of it. */
export function keptAccountSettings({ maxQueue, thresholds }: NodeConfig): Settings {
  const { waiting } = DEFAULTS;
  return { ...DEFAULTS, waiting: { ...waiting, maxLength: maxQueue ?? waiting.maxLength }, thresholds };
}

function inheritWaiting({ mode, maxWaitMs, maxLength }: WaitingSpec, above: Settings['waiting']): Settings['waiting'] {
  return {
    mode: mode ?? above.mode,
    maxWaitMs: maxWaitMs ?? above.maxWaitMs,
    maxLength: maxLength ?? above.maxLength,
  };
}

export function quotaSettings(spec: GlmQuotaSpec, above: Settings, moment: Moment): Settings {
  return {
    waiting: inheritWaiting(spec.waiting, above.waiting),
    thresholds: spec.alerts ?? above.thresholds,
    maxRuntimeMs: shorter(spec.maxRuntimeMs, above.maxRuntimeMs),
    // A scope node lets every class pass: what it counts belongs to other quotas.
    maxClass: spec.match === null ? lowerClass(spec.priority.max, above.maxClass) : above.maxClass,
    maxWeight: spec.children.maxWeight,
    isDrained: above.isDrained || isDrained(spec.stop, moment),
    isScope: spec.match !== null,
  };
}

/** Of a node that keeps what it had; `spec`: what its object says now, null when it does not parse or is gone. */
export function keptSettings(node: NodeConfig, spec: GlmQuotaSpec | null, above: Settings, moment: Moment): Settings {
  const fromSpec = spec === null ? above : quotaSettings(spec, above, moment);
  return {
    ...fromSpec,
    waiting: { ...fromSpec.waiting, maxLength: node.maxQueue ?? above.waiting.maxLength },
    thresholds: node.thresholds,
    maxClass: lowerClass(node.maxClass, above.maxClass),
    maxWeight: spec === null ? MAX_WEIGHT : fromSpec.maxWeight,
    isScope: node.scope !== null,
  };
}

function shorter(a: number | null, b: number | null): number | null {
  if (a === null || b === null) return a ?? b;
  return Math.min(a, b);
}
