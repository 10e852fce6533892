/** GLMQuota: one node of a tree. */
import type { RateConfig } from '../../../sidecar/engine/terms.ts';
import { amount } from './amounts.ts';
import {
  checkedGrant,
  concurrency,
  grantFields,
  limits,
  namespaceGrant,
  objectRef,
  rate,
  SAME_NAMESPACE,
  stopped,
  type LimitSpec,
  type NamespaceGrant,
  type ObjectRef,
} from './fields.ts';
import { list, mapped, object, optional, string, withDefault, type Parsed, type Parser } from './parse.ts';
import { parseResource, type Resource } from './resource.ts';

/** Who may bind pods and pools. */
export interface Consumers extends NamespaceGrant {
  /** `name` or `namespace/name`; empty: every service account of the granted namespaces. */
  readonly serviceAccounts: readonly string[];
}

/** What a quota hangs under. */
type ParentRef = ObjectRef & { readonly kind: 'account' | 'quota' };

interface GlmQuotaSpec {
  readonly parent: ParentRef;
  readonly limits: readonly LimitSpec[];
  /** Calls in flight at once; null: no limit of its own. */
  readonly concurrency: number | null;
  readonly rate: RateConfig | null;
  readonly consumers: Consumers;
  /** Namespaces whose quotas may hang here. */
  readonly children: NamespaceGrant;
  readonly stop: boolean;
}

export type GlmQuota = Resource<GlmQuotaSpec>;

interface RawSpec extends Omit<GlmQuotaSpec, 'parent'> {
  readonly accountRef: ObjectRef | null;
  readonly parentRef: ObjectRef | null;
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

const spec: Parser<GlmQuotaSpec> = mapped(
  object<RawSpec>({
    accountRef: optional(objectRef),
    parentRef: optional(objectRef),
    limits: limits(amount),
    concurrency,
    rate,
    consumers,
    children: namespaceGrant,
    stop: stopped,
  }),
  ({ accountRef, parentRef, ...rest }, at) => {
    if (accountRef !== null && parentRef === null) return { ...rest, parent: { kind: 'account', ...accountRef } };
    if (parentRef !== null && accountRef === null) return { ...rest, parent: { kind: 'quota', ...parentRef } };
    return at.fail('needs exactly one of accountRef (directly under an account) and parentRef (under another quota)');
  },
);

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
