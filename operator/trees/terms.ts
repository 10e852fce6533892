/** What is compiled from what, and what comes out. */
import type { GlmAccount, KeyDelivery } from '../api/v1alpha1/glmaccount.ts';
import type { Consumers, GlmQuota } from '../api/v1alpha1/glmquota.ts';
import type { Problem } from '../api/v1alpha1/parse.ts';
import type { ActiveReason } from '../api/v1alpha1/reasons.ts';
import type { EffectiveLimit } from '../api/v1alpha1/status.ts';
import type { Catalog, Currency } from '../../sidecar/catalog/terms.ts';
import type { Billing, RetryPolicy, SidecarSnapshot, StoreFailurePolicy } from '../../sidecar/control/terms.ts';
import type { NodeName, TreeConfig, TreeKey } from '../../sidecar/engine/tree-terms.ts';
import type { Calendar } from './calendar.ts';
import type { CallTerms } from './call-terms.ts';
import type { CredentialReading } from './credentials.ts';
import type { ObjectKey } from './names.ts';

/** A stored object whose spec does not parse; it keeps its last good limits. */
export interface InvalidObject extends ObjectKey {
  readonly kind: 'GLMAccount' | 'GLMQuota';
  readonly uid: string;
  readonly problems: readonly Problem[];
}

/** Labels of a namespace. */
export type NamespaceLabels = Readonly<Record<string, string>>;

export interface CompileInput {
  readonly accounts: readonly GlmAccount[];
  readonly quotas: readonly GlmQuota[];
  readonly invalid: readonly InvalidObject[];
  /** Usable catalogs (overrides resolved) by name. */
  readonly catalogs: ReadonlyMap<string, Catalog>;
  /** What `readCredential` found, by `namespace/name` of the Secret; absent: there is no such Secret. */
  readonly credentials: ReadonlyMap<string, CredentialReading>;
  readonly namespaces: ReadonlyMap<string, NamespaceLabels>;
  /** Origins that `region: Custom` may name; see `origins.ts`. */
  readonly allowedOrigins: readonly string[];
  /** What is in force: bad objects keep their nodes of it. */
  readonly previous: ReadonlyMap<TreeKey, TreeConfig>;
  readonly calendar: Calendar;
  readonly nowMs: number;
  /** The only namespace whose quotas may be of class System; null: all may. */
  readonly operatorNamespace: string | null;
}

/** The `Active` condition of an object. */
export interface NodeVerdict {
  readonly active: boolean;
  readonly reason: ActiveReason;
  readonly message: string;
  /** The node that keeps this one from granting, when it is not a matter of counters. */
  readonly blockedBy: NodeName | null;
}

/** The `Overcommitted` condition: null when the children ask for no more than there is. */
export type Overcommitment = string | null;

/** Where an account's calls go, and what its sidecars do when they fail. */
export interface Delivery {
  readonly billing: Billing;
  readonly currency: Currency;
  readonly origin: string;
  /** In the account's namespace. */
  readonly secret: ObjectKey;
  readonly catalog: string;
  readonly retry: RetryPolicy;
  readonly onStoreFailure: StoreFailurePolicy;
  readonly durability: SidecarSnapshot['binding']['durability'];
}

export interface CompiledAccount extends ObjectKey {
  readonly uid: string;
  readonly treeKey: TreeKey;
  /** Null: no good spec was ever seen; there is nothing to configure. */
  readonly tree: TreeConfig | null;
  /** Null: no key or no allowed origin; sidecars cannot be served. */
  readonly delivery: Delivery | null;
  /** Why there is no `delivery`; null besides when the spec itself is at fault, which `verdict` tells. */
  readonly deliveryFault: Fault | null;
  /** Null for an account whose spec does not parse. */
  readonly keyDelivery: KeyDelivery | null;
  readonly verdict: NodeVerdict;
  readonly overcommitted: Overcommitment;
  readonly effective: readonly EffectiveLimit[];
}

export interface CompiledQuota extends ObjectKey {
  readonly node: NodeName;
  /** The account's `namespace/name`; null: the node is in no tree and grants nothing. */
  readonly account: string | null;
  /** The account that its parents lead to and that does not exist; null: it is in a tree, or that cannot be told. */
  readonly lostAccount: string | null;
  /** From this node up to `account`; empty when it is in no tree. */
  readonly path: readonly NodeName[];
  /** Null for a quota whose spec does not parse. */
  readonly consumers: Consumers | null;
  /** Null: it is in no tree, or counts by `match`, so that no pod is bound to it. */
  readonly calls: CallTerms | null;
  readonly verdict: NodeVerdict;
  readonly overcommitted: Overcommitment;
  readonly effective: readonly EffectiveLimit[];
}

export interface CompiledWorld {
  /** By `namespace/name`, in that order. */
  readonly accounts: ReadonlyMap<string, CompiledAccount>;
  readonly quotas: ReadonlyMap<string, CompiledQuota>;
  /** When windows, stops or verdicts become others by themselves: compile again then; null: never. */
  readonly staleAtMs: number | null;
}

/** Why an object's own spec cannot be put in force. */
export interface Fault {
  readonly reason: ActiveReason;
  readonly message: string;
}
