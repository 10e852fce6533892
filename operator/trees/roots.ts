/** The account's part of a tree: its own node with the plan's limits, and one node per model. */
import type { GlmAccount, GlmAccountSpec } from '../api/v1alpha1/glmaccount.ts';
import { describeProblems } from '../api/v1alpha1/parse.ts';
import type { Catalog, CatalogModel, CatalogPlan } from '../../sidecar/catalog/terms.ts';
import type { LimitConfig, NodeConfig, RateConfig, TreeConfig, TreeKey } from '../../sidecar/engine/terms.ts';
import { modelsFor, unknownModels } from './catalog.ts';
import { inheritFrom, resolveLimits, type Inheritance, type ResolvedLimits } from './limits.ts';
import { ACCOUNT_NODE, modelNode, objectId, OTHER_MODEL_NODE, treeKeyOf, type ObjectKey } from './names.ts';
import type { CompileInput, Fault } from './terms.ts';
import type { Windows } from './windows.ts';

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
}

/** All accounts by `namespace/name`, sorted. */
export function compileRoots(input: CompileInput, windows: Windows): ReadonlyMap<string, Root> {
  const good = input.accounts.map((account) => goodRoot(account, input, windows));
  const bad = input.invalid
    .filter((object) => object.kind === 'GLMAccount')
    .map((object) => {
      const fault: Fault = { reason: 'InvalidLimits', message: describeProblems(object.problems) };
      return faultyRoot({ ...object, account: null }, fault, input, windows);
    });
  const sorted = [...good, ...bad].toSorted((a, b) => (a.id < b.id ? -1 : 1));
  return new Map(sorted.map((root) => [root.id, root]));
}

type Identity = ObjectKey & Pick<Root, 'uid' | 'account'>;

function goodRoot(account: GlmAccount, input: CompileInput, windows: Windows): Root {
  const { name, uid } = account.metadata;
  const identity = { name, namespace: account.metadata.namespace ?? '', uid: uid ?? '', account };
  const catalog = input.catalogs.get(account.spec.catalogRef.name);
  if (!catalog) {
    const message = `there is no usable GLMCatalog ${account.spec.catalogRef.name}; correct spec.catalogRef or that catalog`;
    return faultyRoot(identity, { reason: 'UnknownCatalog', message }, input, windows);
  }
  const unknown = unknownModels(catalog);
  if (unknown.length > 0) {
    const message = `GLMCatalog ${account.spec.catalogRef.name} has rows for models it does not list: ${unknown.join(', ')}; list them or remove the rows`;
    return faultyRoot(identity, { reason: 'UnknownModel', message }, input, windows);
  }
  const plan = planOf(account.spec, catalog);
  if (plan === undefined)
    return faultyRoot(identity, { reason: 'UnknownPlan', message: unknownPlan(account.spec, catalog) }, input, windows);
  const limits = accountLimits(account.spec, plan, windows);
  if (!limits.ok) return faultyRoot(identity, { reason: 'InvalidLimits', message: limits.message }, input, windows);
  const concurrency = account.spec.concurrency ?? 1;
  const node: NodeConfig = {
    name: ACCOUNT_NODE,
    parent: null,
    concurrency,
    rate: account.spec.rate ?? planRate(account.spec),
    limits: limits.limits,
    stopped: account.spec.stop,
  };
  const models = modelsFor(catalog.models, account.spec.billing);
  return { ...describe(identity), fault: null, nodes: { account: node, models: modelNodes(models, concurrency) } };
}

function describe(identity: Identity): Omit<Root, 'fault' | 'nodes'> {
  const { namespace, name, uid, account } = identity;
  return { namespace, name, uid, account, id: objectId(identity), treeKey: treeKeyOf(identity) };
}

/** Keeps what is in force. A person's stop acts all the same. */
function faultyRoot(identity: Identity, fault: Fault, input: CompileInput, windows: Windows): Root {
  const described = describe(identity);
  const previous = input.previous.get(described.treeKey);
  return { ...described, fault, nodes: previous ? lastGood(previous, identity.account, windows) : null };
}

function lastGood(previous: TreeConfig, account: GlmAccount | null, windows: Windows): Root['nodes'] {
  const node = previous.nodes.find(({ parent }) => parent === null);
  if (!node) return null;
  const limits = node.limits.map((limit) => ({ ...limit, window: windows.refreshed(limit.window) }));
  const stopped = account?.spec.stop ?? node.stopped;
  return {
    account: { ...node, limits, stopped },
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

function accountLimits(spec: GlmAccountSpec, plan: CatalogPlan | null, windows: Windows): ResolvedLimits {
  const planned: readonly LimitConfig[] = (plan?.limits ?? []).map(({ name, amount, durationMs }) => ({
    name,
    resource: plan?.unit ?? 'Prompts',
    amount,
    window: { type: 'Anchored', durationMs },
  }));
  // The plan's limits stand above the account's own as a parent's would, so that the same rules apply to them.
  const above = inheritFrom(`plan ${plan?.name ?? ''}`, planned, new Map());
  const own = resolveLimits(spec.limits, above, windows);
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

function modelNodes(models: readonly CatalogModel[], concurrency: number): readonly NodeConfig[] {
  const names = new Set([...models.map(({ name }) => modelNode(name)), OTHER_MODEL_NODE]);
  return [...names].toSorted().map((name) => ({
    name,
    parent: ACCOUNT_NODE,
    concurrency,
    rate: null,
    limits: [],
    stopped: false,
  }));
}

/** What the quotas of a root inherit. */
export function rootInheritance(account: NodeConfig): Inheritance {
  return inheritFrom(ACCOUNT_NODE, account.limits, new Map());
}
