/**
 * The reference model of the engine: arrays, maps and sums over them, no Redis. It defines what every call answers;
 * the property test holds the Lua to it. Time is what `clock.setUs` says. Pure.
 */
import { ENGINE_CONSTANTS } from './constants.ts';
import { checkPath, type PathStep } from './model-check.ts';
import { adoptNode, forgetEnded } from './model-configure.ts';
import { ModelClock } from './model-clock.ts';
import { ModelLeases, type ModelLease } from './model-leases.ts';
import type { Now } from './model-meters.ts';
import { MATRIX, ModelNode, type Settled, type World } from './model-node.ts';
import { calendarsOf, changedNodes, isFenced, nextConfig, type ModelConfig } from './model-revision.ts';
import { snapshotNodes } from './model-snapshot.ts';
import type { BeatReply, BeatRequest, LeaseRef, RegisterRequest } from './port.ts';
import { ancestry } from './tree.ts';
import type * as terms from './terms.ts';

export class Model implements World {
  readonly clock = new ModelClock();
  #nodes = new Map<string, ModelNode>();
  readonly #leases = new ModelLeases(this.clock);
  calendars: ReadonlyMap<string, readonly number[]> = new Map();
  #config: ModelConfig | null = null;
  #nodeConfigs = new Map<string, terms.NodeConfig>();

  get now(): Now {
    return this.clock.now;
  }

  get logicalUs(): number {
    return this.clock.logicalUs;
  }

  /** Everything Redis holds is lost. */
  wipe(): void {
    this.#nodes.clear();
    this.#leases.wipe();
    this.#config = null;
    this.clock.wipe();
  }

  node(name: string): ModelNode {
    const node = this.#nodes.get(name) ?? new ModelNode();
    this.#nodes.set(name, node);
    return node;
  }

  /** Looks without touching: windows are brought up to the clock in a copy only, as a call that takes nothing writes none. */
  #looking<T>(look: () => T): T {
    const nodes = this.#nodes;
    this.#nodes = new Map([...nodes].map(([name, node]) => [name, node.copy()]));
    try {
      return look();
    } finally {
      this.#nodes = nodes;
    }
  }

  configure(tree: terms.TreeConfig, revision: terms.Revision): terms.ConfigureReply {
    const old = this.#config;
    if (old) {
      const { namespace, name } = old.tree.account;
      if (tree.account.namespace !== namespace || tree.account.name !== name)
        return { kind: 'conflict', namespace, name };
      if (isFenced(old, tree, revision)) return { kind: 'fenced', revision: old.revision };
    }
    this.clock.open();
    this.#config = nextConfig(old, tree, revision);
    this.calendars = calendarsOf(tree);
    this.#nodeConfigs = new Map(tree.nodes.map((node) => [node.name, node]));
    const before = new Map(old?.tree.nodes.map((node) => [node.name, node]));
    for (const config of changedNodes(old?.tree ?? null, tree))
      adoptNode(this.node(config.name), { old: before.get(config.name) ?? null, config }, this);
    this.#bury();
    return { kind: 'applied', generation: revision.generation };
  }

  acquire(request: terms.AcquireRequest): terms.Verdict {
    if (!this.#config) return { kind: 'stale', generation: 0 };
    this.clock.open();
    const epoch = this.clock.otherEpoch(request.epoch);
    if (epoch !== null) return { kind: 'epoch', epoch };
    this.#reap();
    const seen = this.#replay(request);
    if (seen) return seen;
    const { revision, pathGeneration } = this.#config;
    if (
      !this.#nodeConfigs.has(request.leaf) ||
      request.generation < pathGeneration ||
      request.generation > revision.generation
    )
      return { kind: 'stale', generation: revision.generation };
    const denial = this.#looking(() => checkPath(this.#path(request), request.reserve, this));
    if (denial) return denial;
    this.clock.fence += 1;
    return this.#granted(this.#take(request, { fence: this.clock.fence, path: this.#path(request), force: false }));
  }

  claim({ id, fence }: LeaseRef): boolean {
    this.clock.open();
    const lease = this.#leases.find(id);
    const alive = lease !== undefined && lease.live && lease.fence === fence;
    if (alive) {
      lease.claimed = true;
      this.#leases.extend(lease);
    }
    this.#reap();
    return alive;
  }

  settle(settlements: readonly terms.Settlement[], known: number | null): readonly terms.SettleReply[] {
    this.clock.open();
    const epoch = this.clock.otherEpoch(known);
    if (epoch !== null) return settlements.map(() => ({ kind: 'epoch', epoch }));
    const replies = settlements.map((each) => this.#settleOne(each));
    this.#reap();
    return replies;
  }

  cancel(id: string): void {
    this.clock.open();
    this.#disclaim(id, null);
    this.#reap();
  }

  beat({ owner, epoch: known, leases }: BeatRequest): BeatReply {
    this.clock.open();
    const epoch = this.clock.otherEpoch(known);
    if (epoch !== null) return { kind: 'epoch', epoch };
    const lost: string[] = [];
    for (const { id, fence } of leases) {
      const lease = this.#leases.find(id);
      if (lease?.live && lease.fence === fence && lease.request.owner === owner) this.#leases.extend(lease);
      else lost.push(id);
    }
    this.#leases.hear(owner);
    this.#reap();
    return { kind: 'alive', epoch: this.clock.epoch, serverNowMs: this.now.logicalMs, lost };
  }

  register({ owner, leases, disclaimed }: RegisterRequest): { epoch: number } {
    this.clock.open();
    for (const id of disclaimed) this.#disclaim(id, owner);
    for (const { lease: ref, request, sent } of leases) {
      const lease = this.#leases.find(ref.id);
      if (lease) this.#reclaim(lease, ref, owner);
      else if (!this.#leases.isDone(ref.id)) this.#putBack({ ...request, id: ref.id, owner }, ref.fence, sent);
    }
    this.#leases.hear(owner);
    this.#reap();
    return { epoch: this.clock.epoch };
  }

  /** Changes nothing that a later call could see. */
  snapshot(): Omit<terms.TreeSnapshot, 'configHash' | 'epoch' | 'serverNowMs'> | null {
    if (!this.#config) return null;
    this.clock.look();
    const { tree, revision } = this.#config;
    const leases = this.#leases.live.length;
    return { key: tree.key, revision, nodes: this.#looking(() => snapshotNodes(tree.nodes, this)), leases };
  }

  #replay({ id, owner }: terms.AcquireRequest): terms.Verdict | null {
    const lease = this.#leases.find(id);
    if (lease) return lease.live && lease.request.owner === owner ? this.#granted(lease) : { kind: 'done' };
    return this.#leases.isDone(id) ? { kind: 'done' } : null;
  }

  #granted({ request, fence, grantedMs }: ModelLease): terms.Grant {
    const { id } = request;
    const { epoch } = this.clock;
    return {
      kind: 'granted',
      id,
      fence,
      epoch,
      grantedAtMs: grantedMs,
      serverNowMs: this.now.logicalMs,
      ttlMs: ENGINE_CONSTANTS.TTL_MS,
    };
  }

  /** The nodes a call is counted on; without its leaf, the account's and the model's. */
  #path({ leaf, model }: { readonly leaf: string; readonly model: string }): readonly PathStep[] {
    const counted = this.#nodeConfigs.get(`model:${model}`) ?? this.#nodeConfigs.get('model:other');
    const own = this.#nodeConfigs.get(leaf) ?? this.#nodeConfigs.get('account');
    const configs = [...(own ? ancestry(own, this.#nodeConfigs) : []), ...(counted ? [counted] : [])];
    return configs.map((each) => ({ config: each, node: this.node(each.name) }));
  }

  #take(
    request: terms.AcquireRequest,
    { fence, path, force }: { fence: number; path: readonly PathStep[]; force: boolean },
  ): ModelLease {
    const { id } = request;
    const taken = path.toReversed().map(({ config, node }) => {
      node.inFlight.add(id);
      let number = 0;
      if (config.rate && !force) {
        const { intervalUs } = config.rate;
        const tatUs = Math.max(node.rate?.tatUs ?? 0, this.logicalUs) + intervalUs;
        number = (node.rate?.grants ?? 0) + 1;
        node.rate = { tatUs, intervalUs, lastUs: this.logicalUs, grants: number };
      }
      const charges = config.limits.map((limit) => node.take(id, limit, request.reserve, this));
      return { node: config.name, number, charges };
    });
    const { wallMs: grantedWallMs, logicalMs: grantedMs } = this.now;
    return this.#leases.add({ request, fence, grantedMs, grantedWallMs, taken });
  }

  #settleOne({ id, fence, outcome, actual, sentAfterMs, firstByteAfterMs }: terms.Settlement): terms.SettleReply {
    const lease = this.#leases.find(id);
    if (!lease || lease.fence !== fence) return { kind: 'unknown' };
    const late = lease.landed;
    const sent = lease.grantedWallMs + (sentAfterMs ?? 0);
    const first = lease.grantedWallMs + (firstByteAfterMs ?? 0);
    const [refund, refundRate, acceptedIfAnswered] = MATRIX[outcome];
    const accepted = acceptedIfAnswered && firstByteAfterMs !== null;
    const settled = { actual, ending: { refund, accepted, sent, first, wall: this.now.wallMs } };
    const overdraft = this.#end(lease, settled, refundRate);
    this.#finish(lease);
    return { kind: 'settled', late, overdraft };
  }

  #end(lease: ModelLease, settled: Settled, refundRate: boolean): boolean {
    let overdraft = false;
    for (const { node: name, number, charges } of lease.taken) {
      const node = this.node(name);
      for (const charge of charges) {
        if (lease.landed) node.settleLate(charge, settled, this);
        else overdraft = node.settle(lease.request.id, charge, settled, this) || overdraft;
      }
      if (refundRate && node.rate && number > 0) {
        const { tatUs, intervalUs, lastUs, grants } = node.rate;
        const floor = grants > number ? lastUs + (grants - number) * intervalUs : 0;
        node.rate.tatUs = Math.min(tatUs, Math.max(tatUs - intervalUs, floor));
      }
    }
    return overdraft;
  }

  #free(lease: ModelLease): void {
    lease.live = false;
    for (const { node } of lease.taken) this.node(node).inFlight.delete(lease.request.id);
  }

  #finish(lease: ModelLease): void {
    this.#free(lease);
    this.#leases.finish(lease.request.id);
  }

  #disclaim(id: string, owner: string | null): void {
    const lease = this.#leases.find(id);
    if (!lease) {
      this.#leases.finish(id);
      return;
    }
    if ((owner !== null && lease.request.owner !== owner) || (!lease.live && lease.claimed)) return;
    const ending = { refund: true, accepted: false, sent: 0, first: 0, wall: this.now.wallMs };
    this.#end(lease, { actual: lease.request.reserve, ending }, true);
    this.#finish(lease);
  }

  #reclaim(lease: ModelLease, ref: LeaseRef, owner: string): void {
    if (lease.fence !== ref.fence || lease.request.owner !== owner) return;
    this.#leases.extend(lease);
    lease.live = true;
    for (const { node } of lease.taken) this.node(node).inFlight.add(lease.request.id);
  }

  #putBack(request: terms.AcquireRequest, fence: number, sent: boolean): void {
    const path = this.#path(request);
    this.clock.fence = Math.max(this.clock.fence, fence) + 1;
    this.#take(request, { fence, path, force: true }).claimed = sent;
  }

  #reap(): void {
    for (const lease of this.#leases.due()) this.#expire(lease);
  }

  #expire(lease: ModelLease): void {
    if (!lease.landed) {
      const ending = { refund: false, accepted: false, sent: lease.grantedWallMs, first: 0, wall: this.now.wallMs };
      this.#end(lease, { actual: lease.request.reserve, ending }, false);
      lease.landed = true;
    }
    this.#free(lease);
  }

  #bury(): void {
    for (const [name, node] of this.#nodes) {
      if (this.#nodeConfigs.has(name)) continue;
      const running = forgetEnded(node, new Set(), this);
      if (node.inFlight.size === 0 && !running && (node.rate?.tatUs ?? 0) <= this.logicalUs) this.#nodes.delete(name);
    }
  }
}
