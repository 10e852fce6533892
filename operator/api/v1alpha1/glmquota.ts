/** GLMQuota: one node of a tree. */
import type { RateConfig } from '../../../sidecar/engine/tree-terms.ts';
import { amount } from './amounts.ts';
import { concurrency, rate, type ConcurrencySpec } from './concurrency.ts';
import {
  checkedGrant,
  childrenGrant,
  grantFields,
  MAX_WEIGHT,
  objectRef,
  SAME_NAMESPACE,
  type ChildrenGrant,
  type NamespaceGrant,
  type ObjectRef,
} from './fields.ts';
import { perCall, quotaLimits, type CallLimit, type LimitSpec } from './limits.ts';
import { match, type MatchSpec } from './match.ts';
import {
  integer,
  list,
  mapped,
  object,
  oneOf,
  optional,
  string,
  withDefault,
  type Parsed,
  type Parser,
  type Place,
} from './parse.ts';
import { parseResource, type Resource } from './resource.ts';
import { durationMs } from './scalars.ts';
import { schedules, stop, type ScheduleSpec, type StopSpec } from './stops.ts';
import { alerts, priority, waiting, type PrioritySpec, type Thresholds, type WaitingSpec } from './waiting.ts';

/** Who may bind pods and pools. */
export interface Consumers extends NamespaceGrant {
  /** `name` or `namespace/name`; empty: every service account of the granted namespaces. */
  readonly serviceAccounts: readonly string[];
}

/** What a quota hangs under. */
type ParentRef = ObjectRef & { readonly kind: 'account' | 'quota' };

export interface GlmQuotaSpec {
  readonly parent: ParentRef;
  /** Not null: a scope node, which counts the calls of its parent's subtree that match. */
  readonly match: MatchSpec | null;
  readonly limits: readonly LimitSpec[];
  /** Calls in flight at once; null: no limit of its own. */
  readonly concurrency: ConcurrencySpec | null;
  readonly rate: RateConfig | null;
  readonly perCall: readonly CallLimit[];
  /** Null: what the nodes above say, else an hour. */
  readonly maxRuntimeMs: number | null;
  readonly weight: number;
  readonly priority: PrioritySpec;
  readonly waiting: WaitingSpec;
  readonly enforcement: 'Enforce' | 'Observe';
  readonly consumers: Consumers;
  /** Namespaces whose quotas may hang here. */
  readonly children: ChildrenGrant;
  readonly stop: StopSpec | null;
  readonly schedules: readonly ScheduleSpec[];
  readonly alerts: Thresholds | null;
}

export type GlmQuota = Resource<GlmQuotaSpec>;

interface RawSpec extends Omit<GlmQuotaSpec, 'parent' | 'maxRuntimeMs'> {
  readonly accountRef: ObjectRef | null;
  readonly parentRef: ObjectRef | null;
  readonly maxRuntime: number | null;
}

const serviceAccount: Parser<string> = string({
  min: 1,
  max: 317,
  pattern: /^([a-z0-9]([-a-z0-9]*[a-z0-9])?\/)?[a-z0-9]([-a-z0-9.]*[a-z0-9])?$/,
  hint: 'must be a service account as name or namespace/name',
});

const consumers: Parser<Consumers> = withDefault(
  checkedGrant(
    object<Consumers>({ ...grantFields, serviceAccounts: withDefault(list(serviceAccount, { max: 32 }), []) }),
  ),
  { ...SAME_NAMESPACE, serviceAccounts: [] },
);

const fields: Parser<RawSpec> = object<RawSpec>({
  accountRef: optional(objectRef),
  parentRef: optional(objectRef),
  match,
  limits: quotaLimits(amount),
  concurrency,
  rate,
  perCall,
  maxRuntime: optional(durationMs({ minMs: 1000, maxMs: 86_400_000 })),
  weight: withDefault(integer({ min: 1, max: MAX_WEIGHT }), 1),
  priority,
  waiting,
  enforcement: withDefault(oneOf(['Enforce', 'Observe']), 'Enforce'),
  consumers,
  children: childrenGrant,
  stop,
  schedules,
  alerts,
});

/** What only quotas with pods of their own can use: on a scope node these would have no effect. */
const LEAF_FIELDS = ['maxRuntime', 'weight', 'priority', 'waiting', 'consumers'] as const;

const checkedFields: Parser<RawSpec> = (input, at) => {
  const raw = fields(input, at);
  if (typeof raw === 'symbol' || raw.match === null) return raw;
  for (const name of LEAF_FIELDS) {
    if ((input as Record<string, unknown>)[name] !== undefined)
      at.child(name).fail('is for quotas with pods; a quota with match has none, remove it');
  }
  if (raw.limits.some(({ guaranteed }) => guaranteed !== null))
    at.child('limits').fail('a quota with match counts what others use and keeps nothing free; remove guaranteed');
  return raw;
};

const spec: Parser<GlmQuotaSpec> = mapped(checkedFields, (raw, at) => {
  const { accountRef, parentRef, maxRuntime, ...rest } = raw;
  const parent = parentOf(accountRef, parentRef, at);
  return typeof parent === 'symbol' ? parent : { ...rest, parent, maxRuntimeMs: maxRuntime };
});

function parentOf(
  accountRef: ObjectRef | null,
  parentRef: ObjectRef | null,
  at: Place,
): ParentRef | ReturnType<Place['fail']> {
  if (accountRef !== null && parentRef === null) return { kind: 'account', ...accountRef };
  if (parentRef !== null && accountRef === null) return { kind: 'quota', ...parentRef };
  return at.fail('needs exactly one of accountRef (directly under an account) and parentRef (under another quota)');
}

/** Parses a GLMQuota object; status is ignored. */
export function parseGlmQuota(input: unknown): Parsed<GlmQuota> {
  const parsed = parseResource('GLMQuota', spec, input);
  if (!parsed.ok) return parsed;
  const { parent } = parsed.value.spec;
  if (parent.kind === 'account' || parent.namespace !== null || parent.name !== parsed.value.metadata.name)
    return parsed;
  const message = 'a quota cannot be its own parent; name another GLMQuota, or write accountRef instead';
  return { ok: false, problems: [{ path: 'spec.parentRef.name', message }] };
}
