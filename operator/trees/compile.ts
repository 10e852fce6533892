/** Objects → trees and verdicts. One pure function for controllers, edge, webhook and local mode. */
import { formatAmount } from '../api/v1alpha1/amounts.ts';
import type { EffectiveLimit } from '../api/v1alpha1/status.ts';
import type { StopSpec } from '../api/v1alpha1/stops.ts';
import type { NodeConfig, NodeName, TreeConfig } from '../../sidecar/engine/terms.ts';
import { decideDeliveries, type DeliveryDecision } from './deliveries.ts';
import type { Inheritance } from './limits.ts';
import { Moment } from './moment.ts';
import { accountLedTo, linkQuotas, type QuotaLink } from './links.ts';
import { ACCOUNT_NODE, quotaNode } from './names.ts';
import { findOvercommitments } from './overcommitment.ts';
import { placeQuotas, type Placed, type Placement } from './placement.ts';
import { belowRoot, compileRoots, DUPLICATE_STOP, type Root } from './roots.ts';
import { isHeld, stopConfig } from './stops.ts';
import type { CompiledAccount, CompiledQuota, CompiledWorld, CompileInput, Fault, NodeVerdict } from './terms.ts';
import { callTerms } from './call-terms.ts';
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

/** One compiled tree with what its quotas' verdicts need. */
interface Branch {
  readonly root: Root;
  readonly account: CompiledAccount;
  readonly placed: ReadonlyMap<NodeName, Placed>;
  readonly overcommitted: ReadonlyMap<NodeName, string | null>;
  readonly moment: Moment;
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

const ACTIVE: NodeVerdict = { active: true, reason: 'QuotaActive', message: 'limits are in force', blockedBy: null };

function accountVerdict(root: Root, deliveryFault: Fault | null, moment: Moment): NodeVerdict {
  if (root.fault) return faultVerdict(root.fault, root.nodes !== null);
  if (deliveryFault) return { active: false, ...deliveryFault, blockedBy: ACCOUNT_NODE };
  if (root.nodes && isHeld(root.nodes.account, moment))
    return stopVerdict(ACCOUNT_NODE, root.account?.spec.stop ?? null);
  return ACTIVE;
}

function faultVerdict(fault: Fault, kept: boolean): NodeVerdict {
  const consequence = kept ? 'its last good limits stay in force' : 'it grants nothing until then';
  return { active: false, reason: fault.reason, message: `${fault.message} (${consequence})`, blockedBy: null };
}

function stopVerdict(node: NodeName, stop: StopSpec | null): NodeVerdict {
  return { active: false, reason: 'Stopped', message: describeStop(stop), blockedBy: node };
}

function describeStop(stop: StopSpec | null): string {
  const reason = stop?.reason ? ` (${stop.reason})` : '';
  const untilMs = stop?.untilMs ?? null;
  const until = untilMs === null ? '' : ` until ${new Date(untilMs).toISOString()}`;
  return `held by spec.stop${reason}${until}; set policy: None to go on`;
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
    effective: placed ? effectiveLimits(placed.below.limits) : [],
    calls: placed ? callTerms(quota?.spec ?? null, placed.below.settings) : null,
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
  const held = path.filter((node) => {
    const config = branch?.placed.get(node)?.config;
    return branch !== undefined && config !== undefined && isHeld(config, branch.moment);
  });
  if (path[0] !== undefined && held[0] === path[0]) return stopVerdict(path[0], link.quota?.spec.stop ?? null);
  const account = branch?.account;
  if (account && !account.verdict.active && account.verdict.blockedBy !== null) {
    const { reason, message } = account.verdict;
    const stopped = reason === 'Stopped';
    const what = `GLMAccount ${branch.root.id}`;
    return {
      active: false,
      reason: stopped ? 'ParentStopped' : reason,
      message: `${what}${stopped ? ' is' : ':'} ${message}`,
      blockedBy: ACCOUNT_NODE,
    };
  }
  const [above] = held;
  if (above === undefined) return ACTIVE;
  const message = `${above} above is ${describeStop(branch?.placed.get(above)?.link?.quota?.spec.stop ?? null)}`;
  return { active: false, reason: 'ParentStopped', message, blockedBy: above };
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
