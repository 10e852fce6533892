/** May a pod in a namespace, run by a service account, use a quota? Asked by webhook, edge, pools and local mode. */
import { admits } from './grants.ts';
import { objectId, type ObjectKey } from './names.ts';
import type { CompiledAccount, CompiledQuota, CompiledWorld, NamespaceLabels } from './terms.ts';

export interface BindingQuestion {
  /** The pod's. */
  readonly namespace: string;
  readonly serviceAccount: string;
  readonly quota: ObjectKey;
}

export type BindingDecision =
  | { readonly kind: 'bound'; readonly quota: CompiledQuota; readonly account: CompiledAccount }
  | { readonly kind: 'refused'; readonly reason: BindingRefusal; readonly message: string };

export type BindingRefusal =
  | 'QuotaNotFound'
  /** The quota's `consumers` do not admit the pod. */
  | 'QuotaNotGranted'
  /** The quota is in no tree: it never was valid. Time or a correction may help. */
  | 'QuotaNotReady'
  /** The quota counts other quotas' calls by `match`. */
  | 'QuotaNotBindable'
  /** The account above the quota does not exist. */
  | 'AccountNotFound'
  /** The account's key may not reach the pod's namespace. */
  | 'KeyDeliveryForbidden'
  /** The account's Secret does not exist: whoever deleted it took the key back. */
  | 'CredentialMissing';

/** `namespaces`: labels by namespace, for grants by selector. Holds and full windows do not matter here: calls wait. */
export function decideBinding(
  world: CompiledWorld,
  namespaces: ReadonlyMap<string, NamespaceLabels>,
  question: BindingQuestion,
): BindingDecision {
  const id = objectId(question.quota);
  const quota = world.quotas.get(id);
  if (!quota) return refuse('QuotaNotFound', `there is no GLMQuota ${id}; create it or correct the name`);
  if (!quota.consumers) return refuse('QuotaNotReady', `GLMQuota ${id} is not valid: ${quota.verdict.message}`);
  if (quota.path.length > 0 && !quota.calls)
    return refuse(
      'QuotaNotBindable',
      `GLMQuota ${id} counts calls of other quotas by spec.match; bind to one without match`,
    );
  const pod = `pods of namespace ${question.namespace}`;
  if (!admits(quota.consumers, quota.namespace, question.namespace, namespaces))
    return refuse(
      'QuotaNotGranted',
      `GLMQuota ${id} does not admit ${pod}; its owner decides by spec.consumers (now from: ${quota.consumers.from})`,
    );
  if (!namesAccount(quota.consumers.serviceAccounts, question))
    return refuse(
      'QuotaNotGranted',
      `GLMQuota ${id} does not admit service account ${question.namespace}/${question.serviceAccount}; its owner decides by spec.consumers.serviceAccounts`,
    );
  const account = quota.account === null ? undefined : world.accounts.get(quota.account);
  if (account) return decideDelivery({ quota, account, question, namespaces });
  if (quota.lostAccount === null)
    return refuse('QuotaNotReady', `GLMQuota ${id} is not in force: ${quota.verdict.message}`);
  return refuse(
    'AccountNotFound',
    `there is no GLMAccount ${quota.lostAccount} for GLMQuota ${id}; create it or correct spec.accountRef`,
  );
}

interface DeliveryQuestion {
  readonly quota: CompiledQuota;
  readonly account: CompiledAccount;
  readonly question: BindingQuestion;
  readonly namespaces: ReadonlyMap<string, NamespaceLabels>;
}

/** May the pod hold the account's key, and is there one? */
function decideDelivery({ quota, account, question, namespaces }: DeliveryQuestion): BindingDecision {
  const id = objectId(account);
  // What it grants cannot be told while its spec does not parse; its last good limits stay in force meanwhile.
  if (!account.keyDelivery) return refuse('QuotaNotReady', `GLMAccount ${id} is not valid: ${account.verdict.message}`);
  const keys = account.keyDelivery.namespaces;
  if (!admits(keys, account.namespace, question.namespace, namespaces))
    return refuse(
      'KeyDeliveryForbidden',
      `GLMAccount ${id} does not let its key reach pods of namespace ${question.namespace}; its owner decides by spec.keyDelivery.namespaces (now from: ${keys.from})`,
    );
  if (account.deliveryFault?.reason === 'CredentialMissing')
    return refuse('CredentialMissing', `GLMAccount ${id} cannot serve: ${account.deliveryFault.message}`);
  return { kind: 'bound', quota, account };
}

function refuse(reason: BindingRefusal, message: string): BindingDecision {
  return { kind: 'refused', reason, message };
}

function namesAccount(names: readonly string[], { namespace, serviceAccount }: BindingQuestion): boolean {
  if (names.length === 0) return true;
  return names.includes(serviceAccount) || names.includes(`${namespace}/${serviceAccount}`);
}
