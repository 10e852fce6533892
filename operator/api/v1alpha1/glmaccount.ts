/** GLMAccount: the root of a tree, what is bought from the vendor. */
import type { Currency } from '../../../sidecar/catalog/terms.ts';
import type { Billing, RetryPolicy, SidecarSnapshot, StoreFailurePolicy } from '../../../sidecar/control/terms.ts';
import type { BreakerConfig, RateConfig } from '../../../sidecar/engine/tree-terms.ts';
import { breaker, onStoreFailure, retry } from './account-policies.ts';
import {
  concurrency,
  DEFAULT_CONCURRENCY,
  modelConcurrency,
  rate,
  type ConcurrencySpec,
  type ModelConcurrencySpec,
} from './concurrency.ts';
import {
  childrenGrant,
  localRef,
  namespaceGrant,
  SAME_NAMESPACE,
  type ChildrenGrant,
  type LocalRef,
  type NamespaceGrant,
} from './fields.ts';
import { accountLimits, type LimitSpec } from './limits.ts';
import { checked, mapped, object, oneOf, optional, string, withDefault, type Parsed, type Parser } from './parse.ts';
import { parseResource, type Resource } from './resource.ts';
import { schedules, stop, type ScheduleSpec, type StopSpec } from './stops.ts';
import { alerts, waiting, type Thresholds, type WaitingSpec } from './waiting.ts';

export type Region = 'International' | 'China' | 'Custom';

interface PlanRef {
  readonly name: string;
  readonly generation: string;
}

export interface KeyDelivery {
  readonly mode: 'Sidecar';
  /** Namespaces whose sidecars may receive the key. */
  readonly namespaces: NamespaceGrant;
}

export interface GlmAccountSpec {
  readonly billing: Billing;
  readonly region: Region;
  /** Null: no plan, only the account's own limits. */
  readonly plan: PlanRef | null;
  readonly credentialSecretRef: LocalRef;
  readonly keyDelivery: KeyDelivery;
  readonly currency: Currency;
  /** Calls in flight at once over all models, and for each model that `modelConcurrency` does not name. */
  readonly concurrency: ConcurrencySpec;
  readonly modelConcurrency: readonly ModelConcurrencySpec[];
  /** Null: what the plan's generation asks for, else none. */
  readonly rate: RateConfig | null;
  readonly limits: readonly LimitSpec[];
  readonly waiting: WaitingSpec;
  readonly retry: RetryPolicy;
  readonly breaker: BreakerConfig;
  readonly onStoreFailure: StoreFailurePolicy;
  readonly durability: SidecarSnapshot['binding']['durability'];
  /** Namespaces whose quotas may hang here. */
  readonly children: ChildrenGrant;
  readonly stop: StopSpec | null;
  readonly schedules: readonly ScheduleSpec[];
  readonly alerts: Thresholds | null;
  readonly catalogRef: LocalRef;
}

export type GlmAccount = Resource<GlmAccountSpec>;

const catalogWord: Parser<string> = string({
  min: 1,
  max: 63,
  pattern: /^[A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?$/,
  hint: 'must be a name from the catalog, such as Max',
});

const fields: Parser<GlmAccountSpec> = object<GlmAccountSpec>({
  billing: oneOf(['CodingPlan', 'TeamSeat', 'PayAsYouGo']),
  region: oneOf(['International', 'China', 'Custom']),
  plan: optional(object<PlanRef>({ name: catalogWord, generation: catalogWord })),
  credentialSecretRef: localRef,
  keyDelivery: withDefault(
    object<KeyDelivery>({ mode: withDefault(oneOf(['Sidecar']), 'Sidecar'), namespaces: namespaceGrant }),
    { mode: 'Sidecar', namespaces: SAME_NAMESPACE },
  ),
  currency: withDefault(oneOf(['USD', 'CNY']), 'USD'),
  concurrency: mapped(concurrency, (value) => value ?? DEFAULT_CONCURRENCY),
  modelConcurrency,
  rate,
  limits: accountLimits,
  waiting,
  retry,
  breaker,
  onStoreFailure,
  durability: withDefault(oneOf(['Async', 'Strict']), 'Async'),
  children: childrenGrant,
  stop,
  schedules,
  alerts,
  catalogRef: withDefault(localRef, { name: 'default' }),
});

const spec: Parser<GlmAccountSpec> = checked(fields, (account, at) => {
  if (account.plan !== null && account.billing === 'PayAsYouGo')
    at.child('plan').fail('pay-as-you-go has no plan; remove plan or set billing: CodingPlan');
  if (account.concurrency.mode === 'Fixed' && account.modelConcurrency.some(({ start }) => start !== null))
    at.child('modelConcurrency').fail('start is only read with concurrency.mode: Adaptive; remove it');
});

/** Parses a GLMAccount object; status is ignored. */
export function parseGlmAccount(input: unknown): Parsed<GlmAccount> {
  return parseResource('GLMAccount', spec, input);
}
