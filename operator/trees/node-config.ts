/** A quota's spec → its node, under what holds above it. */
import type { ConcurrencySpec } from '../api/v1alpha1/concurrency.ts';
import type { GlmQuotaSpec } from '../api/v1alpha1/glmquota.ts';
import type { AdaptiveConfig, NodeConfig, NodeName, ScopeConfig } from '../../sidecar/engine/tree-terms.ts';
import { resolveLimits } from './limits.ts';
import type { Moment } from './moment.ts';
import { poolLabel, type ObjectKey } from './names.ts';
import { quotaSettings, type Above, type Settings } from './settings.ts';
import { compileStops, needsVendor } from './stops.ts';
import type { Fault } from './terms.ts';
import { modelFault, type VendorFacts } from './vendor-facts.ts';

export interface NodePlace extends ObjectKey {
  readonly node: NodeName;
  readonly parent: NodeName;
}

export interface NodeContext {
  readonly moment: Moment;
  /** Null: the account's catalog is not to be had. */
  readonly vendor: VendorFacts | null;
  /** Where quotas may be of class System; null: everywhere. */
  readonly operatorNamespace: string | null;
}

export type CompiledNode =
  | { readonly ok: true; readonly config: NodeConfig; readonly settings: Settings }
  | { readonly ok: false; readonly fault: Fault };

export function compileNode(spec: GlmQuotaSpec, place: NodePlace, above: Above, context: NodeContext): CompiledNode {
  const { moment, vendor } = context;
  const fault = specFault(spec, place, above.settings, context);
  if (fault) return { ok: false, fault };
  const resolved = resolveLimits(spec.limits, above.limits, moment);
  if (!resolved.ok) return { ok: false, fault: { reason: 'InvalidLimits', message: resolved.message } };
  const settings = quotaSettings(spec, above.settings, moment);
  const isScope = spec.match !== null;
  const config: NodeConfig = {
    name: place.node,
    parent: place.parent,
    ...slots(spec.concurrency),
    rate: spec.rate,
    limits: resolved.limits,
    perCall: spec.perCall,
    stops: compileStops(spec, { moment, vendor: vendor?.schedule ?? null, previous: [] }),
    scope: spec.match && scopeOf(spec.match),
    weight: spec.weight,
    maxClass: isScope ? 'System' : spec.priority.max,
    observe: spec.enforcement === 'Observe',
    maxQueue: isScope ? null : settings.waiting.maxLength,
    breaker: null,
    thresholds: settings.thresholds,
  };
  return { ok: true, config, settings };
}

/** The most calls in flight, and how they are learnt. */
export function slots(spec: ConcurrencySpec | null): {
  readonly concurrency: number | null;
  readonly adaptive: AdaptiveConfig | null;
} {
  if (spec === null) return { concurrency: null, adaptive: null };
  if (spec.mode === 'Fixed') return { concurrency: spec.max, adaptive: null };
  return { concurrency: spec.max, adaptive: { min: spec.min, start: spec.start } };
}

/** Pods carry their pool's name as a label, which is shorter than names may be. */
function scopeOf(match: ScopeConfig): ScopeConfig {
  return { ...match, pools: match.pools.map(poolLabel) };
}

/** What its parent, the operator or the catalog do not let it be. */
function specFault(spec: GlmQuotaSpec, place: NodePlace, above: Settings, context: NodeContext): Fault | null {
  return parentFault(spec, place, above) ?? classFault(spec, place, context) ?? catalogFault(spec, context);
}

function parentFault({ match, weight }: GlmQuotaSpec, { parent }: NodePlace, above: Settings): Fault | null {
  if (above.isScope && match === null) {
    const message = `${parent} counts by match and has no pods below it; name a quota without match as parent, or write match here too`;
    return { reason: 'ParentNotGranted', message };
  }
  if (weight <= above.maxWeight) return null;
  const message = `spec.weight is ${weight} and ${parent} lets quotas weigh at most ${above.maxWeight}; its owner decides by spec.children.maxWeight`;
  return { reason: 'ParentNotGranted', message };
}

function classFault({ priority }: GlmQuotaSpec, place: NodePlace, { operatorNamespace }: NodeContext): Fault | null {
  if (priority.max !== 'System' || operatorNamespace === null || place.namespace === operatorNamespace) return null;
  const message = `spec.priority.max: System is for quotas of namespace ${operatorNamespace}; write High`;
  return { reason: 'InvalidLimits', message };
}

function catalogFault(spec: GlmQuotaSpec, { vendor }: NodeContext): Fault | null {
  const models = spec.match?.models ?? [];
  if (vendor === null) {
    if (!needsVendor(spec) && models.length === 0) return null;
    const message = 'the catalog of its account is not to be had, and spec.schedules or spec.match.models need it';
    return { reason: 'UnknownCatalog', message };
  }
  const unknown = models.flatMap((name) => modelFault(vendor, name) ?? []);
  return unknown.length === 0 ? null : { reason: 'UnknownModel', message: `spec.match.models: ${unknown.join('; ')}` };
}
