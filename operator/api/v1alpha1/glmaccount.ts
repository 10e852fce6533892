/** GLMAccount: the root of a tree, what is bought from the vendor. */
import type { Currency } from '../../../sidecar/catalog/terms.ts';
import type { Billing } from '../../../sidecar/control/terms.ts';
import type { RateConfig } from '../../../sidecar/engine/terms.ts';
import { absoluteAmount } from './amounts.ts';
import {
  concurrency,
  limits,
  localRef,
  namespaceGrant,
  rate,
  SAME_NAMESPACE,
  stopped,
  type LimitSpec,
  type LocalRef,
  type NamespaceGrant,
} from './fields.ts';
import { checked, object, oneOf, optional, string, withDefault, type Parsed, type Parser } from './parse.ts';
import { parseResource, type Resource } from './resource.ts';

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
  /** Calls in flight at once over all models; null: 1. */
  readonly concurrency: number | null;
  /** Null: what the plan's generation asks for, else none. */
  readonly rate: RateConfig | null;
  readonly limits: readonly LimitSpec[];
  /** Namespaces whose quotas may hang here. */
  readonly children: NamespaceGrant;
  readonly stop: boolean;
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
  concurrency,
  rate,
  limits: limits(absoluteAmount),
  children: namespaceGrant,
  stop: stopped,
  catalogRef: withDefault(localRef, { name: 'default' }),
});

const spec: Parser<GlmAccountSpec> = checked(fields, ({ plan, billing }, at) => {
  if (plan !== null && billing === 'PayAsYouGo')
    at.child('plan').fail('pay-as-you-go has no plan; remove plan or set billing: CodingPlan');
});

/** Parses a GLMAccount object; status is ignored. */
export function parseGlmAccount(input: unknown): Parsed<GlmAccount> {
  return parseResource('GLMAccount', spec, input);
}
