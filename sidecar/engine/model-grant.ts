/** Reference model: what a grant does to the waiting room: tags, bottlenecks passed, and the starvation guard (Q2, Q5). Pure. */
import { ENGINE_CONSTANTS } from './constants.ts';
import { SYSTEM_X, windowX } from './model-check.ts';
import { take } from './model-lifecycle.ts';
import type { ModelLease } from './model-leases.ts';
import { amountOf, totalOf, usedIn } from './model-node.ts';
import { costOf } from './model-path.ts';
import type { Flow, SubQueue, Waiter } from './model-queue.ts';
import type { ModelTree } from './model-tree.ts';
import type { AcquireRequest, Grant, Warning } from './terms.ts';
import type { LimitConfig, NodeConfig } from './tree-terms.ts';

const { TTL_MS, CLAIM_TTL_MS, GUARD_BYPASS } = ENGINE_CONSTANTS;
const MAX_WARNINGS = 8;
/** Observed limits may be passed by any factor; replies carry small integers. */
const MAX_PERCENT = 1_000_000;

type Arrival = Pick<Waiter, 'request' | 'class' | 'flow' | 'sub'>;

/** A grant to a call that has just come. Who waits is passed, and that is accounted for. */
export function grantNow(tree: ModelTree, arrival: Arrival, path: readonly NodeConfig[]): Grant {
  const { room } = tree;
  const { request, class: priority } = arrival;
  const lease = take(tree, request, path, { fence: nextFence(tree), class: priority });
  tree.lastGrantWasSystem = priority === 'System';
  if (room.waiters.length > 0) {
    accountGrant(tree, room.flowOf(arrival), request, path);
  }
  return grantOf(tree, lease, warnings(tree, path));
}

/** Returns the bottlenecks at which the grant was accounted. */
export function grantWaiter(tree: ModelTree, waiter: Waiter, path: readonly NodeConfig[]): readonly string[] {
  const { room } = tree;
  const { request, class: priority, seq } = waiter;
  const flow = room.flowOf(waiter);
  room.leave(waiter);
  const lease = take(tree, request, path, { fence: nextFence(tree), class: priority, dispatched: true, seq });
  tree.lastGrantWasSystem = priority === 'System';
  const passed = accountGrant(tree, flow, request, path);
  flow.round = Math.max(flow.round, waiter.round);
  room.outcomes.set(request.id, grantOf(tree, lease, warnings(tree, path)));
  return passed;
}

export function grantOf(tree: ModelTree, lease: ModelLease, crossed: readonly Warning[]): Grant {
  return {
    kind: 'granted',
    id: lease.request.id,
    fence: lease.fence,
    epoch: tree.clock.epoch,
    grantedAtMs: lease.grantedMs,
    serverNowMs: tree.now.logicalMs,
    ttlMs: lease.slot.atVendor ? TTL_MS : CLAIM_TTL_MS,
    warnings: crossed,
  };
}

function nextFence({ clock }: ModelTree): number {
  clock.fence += 1;
  return clock.fence;
}

/** Limits past their node's lowest threshold, by their fullest period. */
function warnings(tree: ModelTree, path: readonly NodeConfig[]): readonly Warning[] {
  const all = path.flatMap(({ name, limits, thresholds: [lowest] }) =>
    limits.flatMap((limit): readonly Warning[] => {
      if (lowest === undefined || limit.amount === 0) return [];
      const used = totalOf(tree.node(name).window(limit, tree), 'fullest');
      const percent = Math.min(MAX_PERCENT, Math.floor((100 * used) / limit.amount));
      return percent >= lowest ? [{ node: name, limit: limit.name, percent }] : [];
    }),
  );
  return all.slice(0, MAX_WARNINGS);
}

/** Returns the bottlenecks at which it was accounted. */
function accountGrant(
  tree: ModelTree,
  flow: Flow,
  { reserve }: AcquireRequest,
  path: readonly NodeConfig[],
): readonly string[] {
  const { room } = tree;
  const cost = costOf(flow.leaf, flow.class, tree.configs);
  flow.tag = Math.max(flow.tag, room.time);
  room.time = flow.tag;
  flow.tag += cost;
  const onPath = path.flatMap(({ name, limits }) => [name, ...limits.map((limit) => windowX(name, limit.name))]);
  const passed = [...onPath, ...(flow.class === 'System' ? [SYSTEM_X] : [])].filter((x) => room.bottlenecks.has(x));
  for (const x of passed) {
    const bottleneck = room.bottlenecks.get(x);
    if (!bottleneck) continue;
    bottleneck.time = Math.max(bottleneck.time, flow.local.get(x) ?? 0);
    flow.local.set(x, bottleneck.time + cost);
  }
  for (const { name, limits } of path) {
    for (const limit of limits) {
      if (amountOf(reserve, limit.resource) > 0) countBypass(tree, name, limit);
    }
  }
  return passed;
}

/** Somebody took of a window while others wait for it. The first of them is passed so often, then it is kept free. */
function countBypass(tree: ModelTree, node: string, limit: LimitConfig): void {
  const { room } = tree;
  const x = windowX(node, limit.name);
  const bottleneck = room.bottlenecks.get(x);
  const [first] = room.parkedAt(x);
  if (!bottleneck || !first) return;
  if (bottleneck.first !== first.birth) Object.assign(bottleneck, { first: first.birth, bypassed: 0 });
  bottleneck.bypassed += 1;
  if (bottleneck.bypassed < GUARD_BYPASS || room.guard) return;
  if (wouldFit(tree, node, limit, first)) room.guard = { x, sub: first.name };
}

/** Whether the head of a sub-queue fits as soon as nothing is in flight. */
function wouldFit(tree: ModelTree, node: string, limit: LimitConfig, { name }: SubQueue): boolean {
  const asked = askedOf(tree.room.headOf(name)?.request, limit);
  const used = tree.looking(() => {
    const window = tree.node(node).window(limit, tree);
    return window.kind === 'meter' ? [window.used] : window.periods.map((period) => usedIn(window, period));
  });
  return [0, ...used].every((each) => each + asked <= limit.amount);
}

const askedOf = (request: AcquireRequest | undefined, { resource }: LimitConfig): number =>
  request ? amountOf(request.reserve, resource) : 0;

/** The guard is of no use any more when settling what is in flight cannot make its call fit. */
export function reviewGuard(tree: ModelTree, sub: SubQueue): void {
  const { guard } = tree.room;
  if (guard?.sub !== sub.name || guard.x !== sub.x) return;
  for (const { name, limits } of tree.configs.values()) {
    const limit = limits.find((each) => windowX(name, each.name) === guard.x);
    if (limit && !wouldFit(tree, name, limit, sub)) tree.room.endGuard();
  }
}
