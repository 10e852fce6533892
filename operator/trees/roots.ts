/** The account's part of a tree: its own node with the plan's limits, and one node per model. */
import type { GlmAccount, GlmAccountSpec } from '../api/v1alpha1/glmaccount.ts';
import { describeProblems } from '../api/v1alpha1/parse.ts';
import type { Catalog, CatalogPlan } from '../../sidecar/catalog/terms.ts';
import type { LimitConfig, NodeConfig, RateConfig, TreeConfig, TreeKey } from '../../sidecar/engine/tree-terms.ts';
import { modelsFor, unknownModels } from './catalog.ts';
import { inheritFrom, resolveLimits, type ResolvedLimits } from './limits.ts';
import { modelNodes } from './model-nodes.ts';
import type { Moment } from './moment.ts';
import { ACCOUNT_NODE, objectId, treeKeyOf, type ObjectKey } from './names.ts';
import { slots } from './node-config.ts';
import { accountSettings, keptAccountSettings, type Above } from './settings.ts';
import { compileStops } from './stops.ts';
import type { CompileInput, Fault } from './terms.ts';
import { modelNodeFault, type VendorFacts } from './vendor-facts.ts';

/** An account as far as trees are concerned. */
export interface Root extends ObjectKey {
  readonly id: string;
  readonly uid: string;
  readonly treeKey: TreeKey;
  /** Null when the stored object does not parse. */
  readonly account: GlmAccount | null;
  /** Why the spec is not in force; null: it is. */
  readonly fault: Fault | null;
  /** `account` and the model nodes; null: neither a good spec nor a last good one. */
  readonly nodes: { readonly account: NodeConfig; readonly models: readonly NodeConfig[] } | null;
  /** What its catalog says; null when that is not to be had. */
  readonly vendor: VendorFacts | null;
}

/** All accounts by `namespace/name`, sorted. */
export function compileRoots(input: CompileInput, moment: Moment): ReadonlyMap<string, Root> {
  const good = input.accounts.map((account) => goodRoot(account, input, moment));
  const bad = input.invalid
    .filter((object) => object.kind === 'GLMAccount')
    .map((object) => {
      const fault: Fault = { reason: 'InvalidLimits', message: describeProblems(object.problems) };
      return faultyRoot({ ...object, account: null, vendor: null }, fault, input, moment);
    });
  const sorted = [...good, ...bad].toSorted((a, b) => (a.id < b.id ? -1 : 1));
  return new Map(sorted.map((root) => [root.id, root]));
}

/** Under this name an account is held whose vendor key another one holds too. */
export const DUPLICATE_STOP = 'duplicate-account';

type Identity = ObjectKey & Pick<Root, 'uid' | 'account' | 'vendor'>;

function goodRoot(account: GlmAccount, input: CompileInput, moment: Moment): Root {
  const { spec, metadata } = account;
  const catalog = input.catalogs.get(spec.catalogRef.name);
  const key = { name: metadata.name, namespace: metadata.namespace ?? '', uid: metadata.uid ?? '', account };
  const identity = { ...key, vendor: catalog ? vendorOf(spec, catalog) : null };
  const refuse = (reason: Fault['reason'], message: string): Root =>
    faultyRoot(identity, { reason, message }, input, moment);
  if (!catalog || !identity.vendor)
    return refuse(
      'UnknownCatalog',
      `there is no usable GLMCatalog ${spec.catalogRef.name}; correct spec.catalogRef or that catalog`,
    );
  const unknown = unknownModels(catalog);
  if (unknown.length > 0)
    return refuse(
      'UnknownModel',
      `GLMCatalog ${spec.catalogRef.name} has rows for models it does not list: ${unknown.join(', ')}; list them or remove the rows`,
    );
  const misnamed = misnamedModels(spec, identity.vendor);
  if (misnamed !== null) return refuse('UnknownModel', misnamed);
  const plan = planOf(spec, catalog);
  if (plan === undefined) return refuse('UnknownPlan', unknownPlan(spec, catalog));
  const limits = accountLimits(spec, plan, moment);
  if (!limits.ok) return refuse('InvalidLimits', limits.message);
  const node = accountNode(spec, limits.limits, { moment, vendor: identity.vendor.schedule, previous: [] });
  const models = modelNodes(identity.vendor.models, spec, node);
  return { ...describe(identity), fault: null, nodes: { account: node, models } };
}

function vendorOf(spec: GlmAccountSpec, { models, schedule }: Catalog): VendorFacts {
  return { catalog: spec.catalogRef.name, models: modelsFor(models, spec.billing), schedule };
}

function misnamedModels(spec: GlmAccountSpec, vendor: VendorFacts): string | null {
  const faults = spec.modelConcurrency.flatMap(({ model }) => modelNodeFault(vendor, model) ?? []);
  return faults.length === 0 ? null : `spec.modelConcurrency: ${faults.join('; ')}`;
}

function accountNode(
  spec: GlmAccountSpec,
  limits: readonly LimitConfig[],
  context: Parameters<typeof compileStops>[1],
): NodeConfig {
  const { waiting, thresholds, maxClass } = accountSettings(spec, context.moment);
  return {
    name: ACCOUNT_NODE,
    parent: null,
    ...slots(spec.concurrency),
    rate: spec.rate ?? planRate(spec),
    limits,
    perCall: [],
    stops: compileStops(spec, context),
    scope: null,
    weight: 1,
    maxClass,
    observe: false,
    maxQueue: waiting.maxLength,
    breaker: null,
    thresholds,
  };
}

function describe(identity: Identity): Omit<Root, 'fault' | 'nodes'> {
  const { namespace, name, uid, account, vendor } = identity;
  return { namespace, name, uid, account, vendor, id: objectId(identity), treeKey: treeKeyOf(identity) };
}

/** Keeps what is in force. A person's stop and the schedules act all the same. */
function faultyRoot(identity: Identity, fault: Fault, input: CompileInput, moment: Moment): Root {
  const described = describe(identity);
  const previous = input.previous.get(described.treeKey);
  return { ...described, fault, nodes: previous ? lastGood(previous, identity, moment) : null };
}

function lastGood(previous: TreeConfig, { account, vendor }: Identity, moment: Moment): Root['nodes'] {
  const node = previous.nodes.find(({ parent }) => parent === null);
  if (!node) return null;
  const limits = node.limits.map((limit) => ({ ...limit, window: moment.window(limit.window) }));
  const context = { moment, vendor: vendor?.schedule ?? null, previous: node.stops };
  const stops = account ? compileStops(account.spec, context) : node.stops;
  return {
    account: { ...node, limits, stops },
    models: previous.nodes.filter(({ name }) => name.startsWith('model:')),
  };
}

/** Null: the account names none; undefined: the catalog has no such plan. */
function planOf(spec: GlmAccountSpec, catalog: Catalog): CatalogPlan | null | undefined {
  const { plan } = spec;
  if (plan === null) return null;
  return catalog.plans.find(({ name, generation }) => name === plan.name && generation === plan.generation);
}

function unknownPlan(spec: GlmAccountSpec, catalog: Catalog): string {
  const known = catalog.plans.map(({ name, generation }) => `${name}/${generation}`).join(', ');
  const asked = spec.plan ? `${spec.plan.name}/${spec.plan.generation}` : '';
  return `GLMCatalog ${spec.catalogRef.name} has no plan ${asked} (name/generation); it has ${known || 'none'}`;
}

/** Plans of the first generation were sold with a rate that the vendor watches (1303); the later ones state none. */
function planRate(spec: GlmAccountSpec): RateConfig | null {
  return spec.plan?.generation === 'Prompts' ? { intervalUs: 2_500_000, burst: 2 } : null;
}

function accountLimits(spec: GlmAccountSpec, plan: CatalogPlan | null, moment: Moment): ResolvedLimits {
  const planned: readonly LimitConfig[] = (plan?.limits ?? []).map(({ name, amount, durationMs }) => ({
    name,
    resource: plan?.unit ?? 'Prompts',
    amount,
    window: { type: 'Anchored', durationMs },
  }));
  // The plan's limits stand above the account's own as a parent's would, so that the same rules apply to them.
  const above = inheritFrom(`plan ${plan?.name ?? ''}`, planned, new Map());
  const own = resolveLimits(spec.limits, above, moment);
  if (!own.ok) return own;
  const problems = own.limits.flatMap((limit) => raised(limit, planned));
  if (problems.length > 0) return { ok: false, message: problems.join('; ') };
  const names = new Set(own.limits.map(({ name }) => name));
  const merged = [...planned.filter(({ name }) => !names.has(name)), ...own.limits.map(withoutOwner)];
  return { ok: true, limits: merged.toSorted((a, b) => (a.name < b.name ? -1 : 1)) };
}

/** The account owns its windows. */
function withoutOwner({ name, resource, amount, window }: LimitConfig): LimitConfig {
  return { name, resource, amount, window };
}

function raised(limit: LimitConfig, planned: readonly LimitConfig[]): string[] {
  const plan = planned.find(({ name }) => name === limit.name);
  if (!plan || limit.amount <= plan.amount) return [];
  return [`spec.limits[${limit.name}]: the plan gives less than that; a limit of the plan may only be lowered`];
}

/** What the quotas of a root inherit. */
export function belowRoot(root: Root, account: NodeConfig, moment: Moment): Above {
  const settings = root.account ? accountSettings(root.account.spec, moment) : keptAccountSettings(account);
  return { limits: inheritFrom(ACCOUNT_NODE, account.limits, new Map()), settings };
}
