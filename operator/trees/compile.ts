/** Objects → trees and verdicts. One pure function for controllers, edge, webhook and local mode. */
import { formatAmount } from '../api/v1alpha1/amounts.ts';
import type { EffectiveLimit } from '../api/v1alpha1/status.ts';
import type { NodeConfig, NodeName, TreeConfig } from '../../sidecar/engine/terms.ts';
import { decideDeliveries, type DeliveryDecision } from './deliveries.ts';
import type { Inheritance } from './limits.ts';
import { accountLedTo, linkQuotas, type QuotaLink } from './links.ts';
import { ACCOUNT_NODE, quotaNode } from './names.ts';
import { findOvercommitments } from './overcommitment.ts';
import { placeQuotas, type Placed, type Placement } from './placement.ts';
import { compileRoots, rootInheritance, type Root } from './roots.ts';
import type { CompiledAccount, CompiledQuota, CompiledWorld, CompileInput, Fault, NodeVerdict } from './terms.ts';
import { describeWindow, Windows } from './windows.ts';

/**
 * Compiles everything there is. The result depends on the objects only, not on their order; trees of the same objects
 * are deeply equal whenever they are compiled, until `staleAtMs`. Never throws for what objects say: an object that
 * cannot be put in force has a verdict with a reason and keeps its nodes of `input.previous`.
 */
export function compileTrees(input: CompileInput): CompiledWorld {
  const windows = new Windows(input.calendar, input.nowMs);
  const roots = compileRoots(input, windows);
  const links = linkQuotas(input, roots);
  const placement = placeQuotas({ roots, links, previous: input.previous, windows });
  const deliveries = decideDeliveries(input, roots);
  const accounts = new Map<string, CompiledAccount>();
  const quotas = new Map<string, CompiledQuota>();
  const byTree = new Map<string, Branch>();
  for (const root of roots.values()) {
    const branch = compileBranch(root, placement, deliveries.get(root.id) ?? { delivery: null, fault: null });
    byTree.set(root.treeKey, branch);
    accounts.set(root.id, branch.account);
  }
  for (const link of links.values()) {
    const branch = byTree.get(placement.homes.get(link.id) ?? '');
    const quota = compileQuota(link, branch, placement.faults.get(link.id) ?? null);
    const led = quota.account === null ? accountLedTo(link, links) : null;
    quotas.set(link.id, { ...quota, lostAccount: led === null || roots.has(led) ? null : led });
  }
  return { accounts, quotas, staleAtMs: windows.staleAtMs };
}

/** One compiled tree with what its quotas' verdicts need. */
interface Branch {
  readonly root: Root;
  readonly account: CompiledAccount;
  readonly placed: ReadonlyMap<NodeName, Placed>;
  readonly overcommitted: ReadonlyMap<NodeName, string | null>;
}

function compileBranch(root: Root, placement: Placement, { delivery, fault }: DeliveryDecision): Branch {
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
    verdict: accountVerdict(root, fault),
    overcommitted: overcommitted.get(ACCOUNT_NODE) ?? null,
    effective: root.nodes ? effectiveLimits(rootInheritance(root.nodes.account)) : [],
  };
  return { root, account, placed, overcommitted };
}

type RootNodes = NonNullable<Root['nodes']>;

function treeOf(root: Root, nodes: RootNodes, placed: readonly Placed[], fault: Fault | null): TreeConfig {
  // Two accounts with one key would each grant the whole of it.
  const stopped = nodes.account.stopped || fault?.reason === 'DuplicateAccount';
  return {
    key: root.treeKey,
    account: { namespace: root.namespace, name: root.name, uid: root.uid },
    nodes: [{ ...nodes.account, stopped }, ...nodes.models, ...placed.map(({ config }) => config)],
  };
}

const ACTIVE: NodeVerdict = { active: true, reason: 'QuotaActive', message: 'limits are in force', blockedBy: null };

function accountVerdict(root: Root, deliveryFault: Fault | null): NodeVerdict {
  if (root.fault) return faultVerdict(root.fault, root.nodes !== null);
  if (deliveryFault) return { active: false, ...deliveryFault, blockedBy: ACCOUNT_NODE };
  if (root.account?.spec.stop) return stopVerdict(ACCOUNT_NODE);
  return ACTIVE;
}

function faultVerdict(fault: Fault, kept: boolean): NodeVerdict {
  const consequence = kept ? 'its last good limits stay in force' : 'it grants nothing until then';
  return { active: false, reason: fault.reason, message: `${fault.message} (${consequence})`, blockedBy: null };
}

function stopVerdict(node: NodeName): NodeVerdict {
  const message = 'held by spec.stop; set policy: None to go on';
  return { active: false, reason: 'Stopped', message, blockedBy: node };
}

function compileQuota(
  link: QuotaLink,
  branch: Branch | undefined,
  fault: Fault | null,
): Omit<CompiledQuota, 'lostAccount'> {
  const { namespace, name, quota } = link;
  const node = quotaNode(link);
  const placed = branch?.placed.get(node);
  const path = branch && placed ? pathOf(node, branch) : [];
  return {
    namespace,
    name,
    node,
    account: branch && placed ? branch.root.id : null,
    path,
    consumers: quota?.spec.consumers ?? null,
    verdict: fault ? faultVerdict(fault, placed !== undefined) : quotaVerdict(link, path, branch),
    overcommitted: branch?.overcommitted.get(node) ?? null,
    effective: placed ? effectiveLimits(placed.inheritance) : [],
  };
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

function quotaVerdict(link: QuotaLink, path: readonly NodeName[], branch: Branch | undefined): NodeVerdict {
  if (link.quota?.spec.stop) return stopVerdict(quotaNode(link));
  const account = branch?.account;
  if (account && !account.verdict.active && account.verdict.blockedBy !== null) {
    const { reason, message } = account.verdict;
    const stopped = reason === 'Stopped';
    const what = `GLMAccount ${branch.root.id}`;
    return {
      active: false,
      reason: stopped ? 'ParentStopped' : reason,
      message: stopped ? `${what} is held by its spec.stop` : `${what}: ${message}`,
      blockedBy: ACCOUNT_NODE,
    };
  }
  const stopped = path.slice(1).find((node) => branch?.placed.get(node)?.config.stopped);
  if (stopped === undefined) return ACTIVE;
  const message = `${stopped} above is held by its spec.stop`;
  return { active: false, reason: 'ParentStopped', message, blockedBy: stopped };
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
