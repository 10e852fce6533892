/** Objects → trees and verdicts. One pure function for controllers, edge, webhook and local mode. */
import { formatAmount } from '../api/v1alpha1/amounts.ts';
import type { EffectiveLimit } from '../api/v1alpha1/status.ts';
import type { NodeConfig, NodeName, TreeConfig } from '../../sidecar/engine/tree-terms.ts';
import { decideDeliveries, type DeliveryDecision } from './deliveries.ts';
import type { Inheritance } from './limits.ts';
import { Moment } from './moment.ts';
import { accountLedTo, linkQuotas, type QuotaLink } from './links.ts';
import { ACCOUNT_NODE, quotaNode } from './names.ts';
import { findOvercommitments } from './overcommitment.ts';
import { placeQuotas, type Placed, type Placement } from './placement.ts';
import { belowRoot, compileRoots, DUPLICATE_STOP, type Root } from './roots.ts';
import { stopConfig } from './stops.ts';
import type { CompiledAccount, CompiledQuota, CompiledWorld, CompileInput, Fault } from './terms.ts';
import { callTerms } from './call-terms.ts';
import { ACTIVE, accountVerdict, faultVerdict, quotaVerdict, type Branch } from './verdicts.ts';
import { describeWindow } from './windows.ts';

/**
 * Compiles everything there is. The result depends on the objects only, not on their order; trees of the same objects
 * are deeply equal whenever they are compiled, until `staleAtMs`. Never throws for what objects say: an object that
 * cannot be put in force has a verdict with a reason and keeps its nodes of `input.previous`.
 */
export function compileTrees(input: CompileInput): CompiledWorld {
  const moment = new Moment(input.calendar, input.nowMs);
  const roots = compileRoots(input, moment);
  const links = linkQuotas(input, roots);
  const { previous, operatorNamespace } = input;
  const placement = placeQuotas({ roots, links, previous, moment, operatorNamespace });
  const deliveries = decideDeliveries(input, roots);
  const accounts = new Map<string, CompiledAccount>();
  const quotas = new Map<string, CompiledQuota>();
  const byTree = new Map<string, Branch>();
  for (const root of roots.values()) {
    const branch = compileBranch(root, placement, deliveries.get(root.id) ?? { delivery: null, fault: null }, moment);
    byTree.set(root.treeKey, branch);
    accounts.set(root.id, branch.account);
  }
  for (const link of links.values()) {
    const branch = byTree.get(placement.homes.get(link.id) ?? '');
    const quota = compileQuota(link, branch, placement.faults.get(link.id) ?? null);
    const led = quota.account === null ? accountLedTo(link, links) : null;
    quotas.set(link.id, { ...quota, lostAccount: led === null || roots.has(led) ? null : led });
  }
  return { accounts, quotas, staleAtMs: moment.staleAtMs };
}

function compileBranch(
  root: Root,
  placement: Placement,
  { delivery, fault }: DeliveryDecision,
  moment: Moment,
): Branch {
  const placed = placement.trees.get(root.treeKey) ?? new Map<NodeName, Placed>();
  const tree = root.nodes ? treeOf(root, root.nodes, [...placed.values()], fault) : null;
  const counted = tree?.nodes.filter(({ name }) => !name.startsWith('model:')) ?? [];
  const overcommitted = findOvercommitments(counted);
  const { namespace, name, uid, treeKey } = root;
  const account: CompiledAccount = {
    namespace,
    name,
    uid,
    treeKey,
    tree,
    delivery,
    deliveryFault: fault,
    keyDelivery: root.account?.spec.keyDelivery ?? null,
    verdict: accountVerdict(root, fault, moment),
    overcommitted: overcommitted.get(ACCOUNT_NODE) ?? null,
    effective: root.nodes ? effectiveLimits(belowRoot(root, root.nodes.account, moment).limits) : [],
  };
  return { root, account, placed, overcommitted, moment };
}

type RootNodes = NonNullable<Root['nodes']>;

function treeOf(root: Root, nodes: RootNodes, placed: readonly Placed[], fault: Fault | null): TreeConfig {
  // Two accounts with one key would each grant the whole of it.
  const held = fault?.reason === 'DuplicateAccount' ? [stopConfig(DUPLICATE_STOP, null)] : [];
  const account = { ...nodes.account, stops: [...held, ...nodes.account.stops] };
  return {
    key: root.treeKey,
    account: { namespace: root.namespace, name: root.name, uid: root.uid },
    nodes: [account, ...nodes.models, ...placed.map(({ config }) => config)],
  };
}

type QuotaOfTree = Omit<CompiledQuota, 'lostAccount'>;

function compileQuota(link: QuotaLink, branch: Branch | undefined, fault: Fault | null): QuotaOfTree {
  const node = quotaNode(link);
  const placed = branch?.placed.get(node);
  const { namespace, name } = link;
  const own = { namespace, name, node, consumers: link.quota?.spec.consumers ?? null };
  if (!branch || !placed) return { ...own, ...inNoTree(fault) };
  const path = pathOf(node, branch);
  return {
    ...own,
    account: branch.root.id,
    path,
    verdict: fault ? faultVerdict(fault, true) : quotaVerdict(path, branch),
    overcommitted: branch.overcommitted.get(node) ?? null,
    effective: effectiveLimits(placed.below.limits),
    calls: callTerms(link.quota?.spec ?? null, placed.below.settings),
  };
}

function inNoTree(fault: Fault | null): Omit<QuotaOfTree, 'namespace' | 'name' | 'node' | 'consumers'> {
  const verdict = fault ? faultVerdict(fault, false) : ACTIVE;
  return { account: null, path: [], verdict, overcommitted: null, effective: [], calls: null };
}

function pathOf(leaf: NodeName, branch: Branch): readonly NodeName[] {
  const path: NodeName[] = [];
  let config: NodeConfig | undefined = branch.placed.get(leaf)?.config;
  while (config) {
    path.push(config.name);
    config = branch.placed.get(config.parent ?? '')?.config;
  }
  return [...path, ACCOUNT_NODE];
}

function effectiveLimits(inheritance: Inheritance): readonly EffectiveLimit[] {
  const limits = [...inheritance].map(([name, { nearest, tightest, tightestNode }]) => ({
    name,
    resource: nearest.resource,
    amount: formatAmount(nearest.resource, tightest),
    window: describeWindow(nearest.window),
    node: tightestNode,
  }));
  return limits.toSorted((a, b) => (a.name < b.name ? -1 : 1));
}
