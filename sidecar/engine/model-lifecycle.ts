/** Reference model: what a lease takes of its nodes, and how it ends. Pure. */
import { boundsOf, decrease, endProbe, takeAdaptive } from './model-adaptive.ts';
import type { Hold, ModelLease } from './model-leases.ts';
import { rollGuarantors } from './model-limits.ts';
import { MATRIX, type Settled, type Slot } from './model-node.ts';
import { frozenUntil, learnFailure, learnPace } from './model-pace.ts';
import type { ModelTree } from './model-tree.ts';
import type { AcquireRequest, Outcome, SettleReply, Settlement } from './terms.ts';
import type { NodeConfig, PriorityClass } from './tree-terms.ts';

export interface Taking {
  readonly fence: number;
  readonly class: PriorityClass;
  /** It runs already: whatever the limits say, and without the rate. */
  readonly force?: boolean;
  readonly dispatched?: boolean;
  readonly seq?: number | null;
}

/** One slot, one rate token and the reserve of every limit on every node of the path. */
export function take(tree: ModelTree, request: AcquireRequest, path: readonly NodeConfig[], how: Taking): ModelLease {
  const { force = false, dispatched = false, seq = null, fence } = how;
  const { id } = request;
  const slot: Slot = { class: how.class, atVendor: !dispatched };
  const taken = path.toReversed().map((config) => {
    const node = tree.node(config.name);
    const adaptive = node.adaptive(config, tree.now);
    const { breaker } = node.learnt;
    if (adaptive && !force) takeAdaptive(adaptive, id, node.inFlight.size);
    if (config.breaker && breaker && breaker.openUntilMs > 0 && !force) breaker.probe ??= id;
    node.inFlight.add(slot);
    const number = force ? 0 : node.takeRate(config, tree);
    const charges = config.limits.map((limit) => node.take(id, limit, request.reserve, tree));
    return { node: config.name, number, charges };
  });
  for (const { name } of path) rollGuarantors(name, tree);
  const { wallMs: grantedWallMs, logicalMs: grantedMs } = tree.now;
  return tree.leases.add({ request, fence, grantedMs, grantedWallMs, taken, slot, dispatched, putBack: force, seq });
}

/** A settlement of one lease. `again`: its id goes back into the queue, so it is not done with. */
export function settle(tree: ModelTree, settlement: Settlement, again: boolean): SettleReply {
  const { id, fence, outcome, actual, sentAfterMs, firstByteAfterMs, holdMs } = settlement;
  const lease = tree.leases.find(id);
  if (!lease || lease.fence !== fence) return { kind: 'unknown' };
  const late = lease.landed;
  const [refund, refundRate, acceptedIfAnswered] = MATRIX[outcome];
  const sent = lease.grantedWallMs + (sentAfterMs ?? 0);
  const first = Math.max(sent, lease.grantedWallMs + (firstByteAfterMs ?? 0));
  const accepted = acceptedIfAnswered && firstByteAfterMs !== null && !lease.putBack;
  const settled = { actual, ending: { refund, accepted, sent, first, wall: tree.now.wallMs } };
  const overdraft = land(tree, lease, settled, refundRate);
  tree.releaseHold.decay(tree.now);
  if (!late) learn(tree, lease, { ...settlement, outcome });
  const hold = Math.max(holdMs, outcome === 'neverSent' ? 0 : tree.releaseHold.ms);
  free(tree, lease, hold, again ? `${id}\0${fence}` : id);
  if (again) tree.leases.forget(id);
  else tree.leases.finish(id);
  return { kind: 'settled', late, overdraft };
}

/** Nobody knows how it ended: its reserve is charged until somebody says (rule T4). */
export function expire(tree: ModelTree, lease: ModelLease, holdMs: number): void {
  if (!lease.landed) {
    const ending = { refund: false, accepted: false, sent: lease.grantedWallMs, first: 0, wall: tree.now.wallMs };
    land(tree, lease, { actual: null, ending }, false);
    learn(tree, lease, { outcome: null, sentAfterMs: null, firstByteAfterMs: null, frozenUntilMs: null });
    lease.landed = true;
  }
  free(tree, lease, holdMs, `${lease.request.id}\0${lease.fence}`);
}

/** It was never sent: everything is given back. False: it may have been sent. */
export function giveBack(tree: ModelTree, lease: ModelLease): void {
  if (!lease.live && lease.claimed) return;
  const ending = { refund: true, accepted: false, sent: 0, first: 0, wall: tree.now.wallMs };
  land(tree, lease, { actual: null, ending }, true);
  const never = { outcome: 'neverSent', sentAfterMs: null, firstByteAfterMs: null, frozenUntilMs: null } as const;
  learn(tree, lease, never);
  free(tree, lease, 0, '');
  tree.leases.finish(lease.request.id);
}

/** An expired lease whose call runs on holds its slots again; if they are still held, that ends: it never counts twice. */
export function revive(tree: ModelTree, lease: ModelLease): void {
  const held = tree.leases.endHold(`${lease.request.id}\0${lease.fence}`);
  if (held) freeHeld(tree, held);
  lease.live = true;
  tree.leases.extend(lease);
  for (const { node } of lease.taken) tree.node(node).inFlight.add(lease.slot);
}

/** Frees slots whose hold is over. */
export function endHolds(tree: ModelTree): void {
  for (const hold of tree.leases.endHolds()) freeHeld(tree, hold);
}

function freeHeld(tree: ModelTree, { slot, nodes }: Hold): void {
  for (const name of nodes) {
    tree.node(name).inFlight.delete(slot);
    tree.wakeNode(name, []);
  }
}

/** Replaces the reserves by what was used. True: some limit is exceeded by it. */
function land(tree: ModelTree, lease: ModelLease, settled: Settled, refundRate: boolean): boolean {
  let overdraft = false;
  for (const { node: name, number, charges } of lease.taken) {
    const node = tree.node(name);
    for (const charge of charges) {
      if (lease.landed) node.settleLate(charge, settled, tree);
      else overdraft = node.settle(lease.request.id, charge, settled, tree) || overdraft;
    }
    if (refundRate) node.refundRate(number);
  }
  for (const { node } of lease.taken) rollGuarantors(node, tree);
  return overdraft;
}

/** Its slots come free, at once or after a hold, and whoever waits for what it had is looked at. */
function free(tree: ModelTree, lease: ModelLease, holdMs: number, holdName: string): void {
  const held = lease.live && holdMs > 0;
  const nodes = lease.taken.map(({ node }) => node);
  if (held) {
    const slot = { class: lease.slot.class, atVendor: false };
    for (const name of nodes) tree.node(name).inFlight.add(slot);
    tree.leases.hold({ name: holdName, slot, nodes, untilMs: tree.now.logicalMs + holdMs });
  }
  lease.live = false;
  for (const { node: name, charges } of lease.taken) {
    tree.node(name).inFlight.delete(lease.slot);
    tree.wakeNode(
      name,
      charges.map(({ key }) => key.slice(0, key.indexOf('|'))),
    );
  }
}

type Teaching = Pick<Settlement, 'sentAfterMs' | 'firstByteAfterMs' | 'frozenUntilMs'> & {
  readonly outcome: Outcome | null;
};

/** Everything the end of a call says about the vendor. Its slots are still taken. */
function learn(tree: ModelTree, lease: ModelLease, said: Teaching): void {
  const model = lease.taken.find(({ node }) => node.startsWith('model:'))?.node ?? null;
  const { outcome } = said;
  const { id } = lease.request;
  const wasProbe = endProbes(tree, lease, said).includes(model);
  if (model === null) return;
  if (outcome === 'refusedConcurrency') learnConcurrency(tree, lease, said.sentAfterMs ?? 0, { model, wasProbe });
  const { learnt } = tree.node(model);
  const config = tree.configs.get(model);
  learnPace(learnt.pace, outcome, lease.fence, tree.now);
  if (config?.breaker) learnt.breaker = learnFailure(learnt.breaker, config.breaker, { id, outcome }, tree.now);
  const frozenMs = outcome === 'refusedQuota' ? frozenUntil(said.frozenUntilMs, tree.now) : null;
  const account = tree.node('account').learnt;
  account.frozenUntilMs = Math.max(account.frozenUntilMs, frozenMs ?? 0);
}

/** Returns the nodes at which this lease was the probe. */
function endProbes(tree: ModelTree, lease: ModelLease, said: Teaching): readonly (string | null)[] {
  const answered = said.firstByteAfterMs !== null;
  return lease.taken.flatMap(({ node: name }) => {
    const config = tree.configs.get(name);
    const adaptive = config && tree.node(name).adaptive(config, tree.now);
    if (!adaptive || adaptive.probe !== lease.request.id) return [];
    endProbe(adaptive, { outcome: said.outcome, answered }, boundsOf(config)?.max ?? 0, tree.now);
    return [name];
  });
}

/** The vendor refused a call for being one too many: the hold is too short, or the limit too high (T6, M1). */
function learnConcurrency(
  tree: ModelTree,
  lease: ModelLease,
  sentAfterMs: number,
  { model, wasProbe }: { readonly model: string; readonly wasProbe: boolean },
): void {
  const config = tree.configs.get(model);
  if (!config) return;
  if (!wasProbe && blameHold(tree, lease, sentAfterMs, config)) return;
  const adaptive = tree.node(model).adaptive(config, tree.now);
  const isNews = adaptive !== null && lease.grantedMs + sentAfterMs >= adaptive.decreasedMs;
  if (!wasProbe && isNews) shrink(tree, config);
  learnOfAccount(tree, model);
}

/** Lengthens the hold when the call came right after a hand-off; true: that is all there is to learn. */
function blameHold(tree: ModelTree, lease: ModelLease, sentAfterMs: number, config: NodeConfig): boolean {
  const node = tree.node(config.name);
  const adaptive = node.adaptive(config, tree.now);
  const limit = adaptive ? adaptive.limit : config.concurrency;
  const isHandOff = lease.dispatched && sentAfterMs <= 500 && limit !== null && node.inFlight.size <= limit;
  if (!isHandOff) return false;
  if (tree.releaseHold.grow(tree.now)) return true;
  const isLeast = adaptive === null || adaptive.limit <= (boundsOf(config)?.min ?? 0);
  if (isLeast) tree.releaseHold.growAgain(lease.grantedMs, tree.now);
  return false;
}

/** Two models refused at almost the same time: it is the account's limit as well. */
function learnOfAccount(tree: ModelTree, model: string): void {
  const account = tree.configs.get('account');
  if (!account?.adaptive) return;
  const { learnt } = tree.node('account');
  const { logicalMs } = tree.now;
  const { refused } = learnt;
  learnt.refused = { model, atMs: logicalMs };
  if (refused && refused.model !== model && logicalMs - refused.atMs <= 2000) shrink(tree, account);
}

function shrink(tree: ModelTree, config: NodeConfig): void {
  const node = tree.node(config.name);
  const adaptive = node.adaptive(config, tree.now);
  const atVendor = [...node.inFlight].filter((slot) => slot.atVendor).length;
  if (adaptive) decrease(adaptive, atVendor, boundsOf(config)?.min ?? 0, tree.now);
}
