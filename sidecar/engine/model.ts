/**
 * The reference model of the engine: arrays, maps and sums over them, no Redis. It defines what every call answers;
 * the property test holds the Lua to it. Time is what `clock.setUs` says. Pure.
 */
import { asked, isWaiter, retry } from './model-acquire.ts';
import type { ModelClock } from './model-clock.ts';
import { adopt, bury } from './model-configure.ts';
import { dispatch, reapWaiters, type Left } from './model-dispatch.ts';
import { endHolds, expire, settle } from './model-lifecycle.ts';
import { rollGuarantors } from './model-limits.ts';
import { beatLease, endMark, fateOf, noticeOf, registerLease, takeBack } from './model-owners.ts';
import type { Waiter } from './model-queue.ts';
import { refusal } from './model-revision.ts';
import { snapshotNodes } from './model-snapshot.ts';
import { ModelTree } from './model-tree.ts';
import type {
  BeatReply,
  BeatRequest,
  ConfigureOptions,
  LeaseRef,
  Notice,
  PlannedMove,
  RegisterRequest,
  SwapReply,
} from './port.ts';
import type * as terms from './terms.ts';
import type { NodeName, Revision, TreeConfig } from './tree-terms.ts';

const RECLAIM_BUDGET = 64;
const ZOMBIE_HOLD_MS = 2000;

export interface Tick {
  readonly serverNowMs: number;
  readonly nextTickMs: number | null;
}

export class Model {
  readonly tree = new ModelTree();
  #left: Left = 'nobody';
  /** Waiters are left whose time is over. */
  #late = false;

  get clock(): ModelClock {
    return this.tree.clock;
  }

  wipe(): void {
    this.tree.wipe();
  }

  /** `lost`: there was a tree, and Redis forgot it (rule T7); `checkpoint`: what was used by then (rule F3). */
  configure(tree: TreeConfig, revision: Revision, options: ConfigureOptions = {}): terms.ConfigureReply {
    const { lost = false, checkpoint = null } = options;
    const old = this.tree.config;
    const refused = old && refusal(old, tree, revision);
    if (refused) return refused;
    this.#open(null);
    if (lost && !old) this.clock.learn(true);
    this.#write(() => adopt(this.tree, tree, { revision, remembered: old ? null : checkpoint }));
    bury(this.tree);
    return { kind: 'applied', generation: revision.generation };
  }

  acquire(request: terms.AcquireRequest): terms.Verdict {
    const { tree } = this;
    if (!tree.config) return { kind: 'stale', generation: 0 };
    const other = this.#open(request.epoch);
    if (other) return other;
    endHolds(tree);
    this.#reap();
    const answer = asked(tree, request);
    this.#conclude();
    return this.#verdict(answer);
  }

  claim({ id, fence }: LeaseRef): boolean {
    this.#open(null);
    return this.#write(() => {
      const lease = this.tree.leases.find(id);
      if (!lease?.live || lease.fence !== fence) return false;
      lease.claimed = true;
      this.tree.leases.extend(lease);
      return true;
    });
  }

  settle(settlements: readonly terms.Settlement[], epoch: number | null): readonly terms.SettleReply[] {
    const other = this.#open(epoch);
    if (other) return settlements.map(() => other);
    return this.#write(() => settlements.map((each) => settle(this.tree, each, false)));
  }

  /** With the id of the settled call: a retry. */
  swap(settlement: terms.Settlement, request: terms.AcquireRequest, epoch: number | null): SwapReply {
    const { tree } = this;
    const other = this.#open(epoch);
    if (other) return { settled: other, verdict: other };
    endHolds(tree);
    const again = settlement.id === request.id;
    const seq = tree.leases.find(request.id)?.seq ?? null;
    const settled = settle(tree, settlement, again);
    this.#reap();
    const answer = again ? retry(tree, request, settled, seq) : asked(tree, request);
    this.#conclude();
    return { settled, verdict: this.#verdict(answer) };
  }

  cancel(id: string, { keepPlace = false } = {}): void {
    this.#open(null);
    this.#write(() => takeBack(this.tree, id, { owner: null, keepPlace }));
  }

  beat({ owner, epoch, leases, waiters }: BeatRequest): BeatReply {
    const other = this.#open(epoch);
    if (other) return other;
    const { room } = this.tree;
    const lost: string[] = [];
    const notices: Notice[] = [];
    const waiting: Waiter[] = [];
    this.#write(() => {
      lost.push(...leases.filter((ref) => !beatLease(this.tree, owner, ref)).map(({ id }) => id));
      for (const id of waiters) {
        const fate = fateOf(this.tree, owner, id);
        if (fate === null) lost.push(id);
        else if ('kind' in fate) notices.push(fate);
        else waiting.push(fate);
      }
      this.tree.leases.hear(owner, false);
    });
    for (const { request } of waiting) {
      const outcome = room.outcomes.get(request.id);
      if (outcome) notices.push(noticeOf(request.id, outcome));
    }
    const still = waiting.filter(({ request }) => !room.outcomes.has(request.id));
    return {
      kind: 'alive',
      epoch: this.clock.epoch,
      ...this.#tick(),
      owners: Math.max(1, this.tree.leases.owners),
      lost,
      waiting: still.map((each) => ({ id: each.request.id, ...this.#standing(each) })),
      notices,
    };
  }

  register({ owner, leases, disclaimed }: RegisterRequest): { epoch: number } {
    this.#open(null);
    this.#write(() => {
      for (const id of disclaimed) takeBack(this.tree, id, { owner, keepPlace: false });
      for (const { lease, request, sent } of leases)
        registerLease(this.tree, { ...request, id: lease.id, owner }, lease.fence, sent);
      this.tree.leases.hear(owner, true);
    });
    return { epoch: this.clock.epoch };
  }

  tick(): Tick {
    this.#open(null);
    this.#write(() => undefined);
    return this.#tick();
  }

  /** At most so many a call; to be repeated until it finds none. */
  reclaim({ prefix, except }: { readonly prefix: string; readonly except: string | null }): {
    readonly leases: number;
    readonly waiters: number;
  } {
    const { leases, room } = this.tree;
    const isMeant = ({ owner }: Pick<terms.AcquireRequest, 'owner'>): boolean =>
      owner.startsWith(prefix) && owner !== except;
    this.#open(null);
    return this.#write(() => {
      const ended = leases.inOrderOfExpiry().filter(({ request }) => isMeant(request));
      const gone = room.waiters.filter(({ request }) => isMeant(request)).toSorted((a, b) => a.seq - b.seq);
      for (const lease of ended.slice(0, RECLAIM_BUDGET)) expire(this.tree, lease, ZOMBIE_HOLD_MS);
      for (const waiter of gone.slice(0, RECLAIM_BUDGET)) room.leave(waiter);
      for (const { turns } of room.flows.values())
        for (const owner of turns.keys()) if (isMeant({ owner })) turns.delete(owner);
      if (except === null && ended.length + gone.length === 0) endMark(this.tree, prefix);
      return { leases: Math.min(ended.length, RECLAIM_BUDGET), waiters: Math.min(gone.length, RECLAIM_BUDGET) };
    });
  }

  drain(process: string, draining: boolean): void {
    this.#open(null);
    this.#write(() => (draining ? this.tree.draining.set(process, null) : this.tree.draining.delete(process)));
  }

  declareMove(move: PlannedMove): void {
    this.#open(null);
    this.#write(() => this.clock.plan(move));
  }

  freeze(name: NodeName, untilMs: number | null): void {
    this.#open(null);
    this.#write(() => {
      if (!this.tree.configs.has(name)) return;
      this.tree.node(name).learnt.frozenUntilMs = untilMs ?? 0;
      this.tree.room.wake(name);
    });
  }

  resetWindow(name: NodeName, limitName: string): boolean {
    this.#open(null);
    return this.#write(() => {
      const limit = this.tree.configs.get(name)?.limits.find((each) => each.name === limitName);
      if (!limit) return false;
      this.tree.node(name).window(limit, this.tree).clear();
      rollGuarantors(name, this.tree);
      this.tree.room.wake(`${name}|${limitName}`);
      return true;
    });
  }

  /** Changes nothing that a later call could see. */
  snapshot(): Omit<terms.TreeSnapshot, 'configHash' | 'epoch' | 'serverNowMs'> | null {
    const { tree } = this;
    if (!tree.config) return null;
    this.clock.look();
    const { tree: config, revision } = tree.config;
    const nodes = tree.looking(() => snapshotNodes(config.nodes, tree));
    return { key: config.key, revision, nodes, leases: tree.leases.live.length };
  }

  /** Every call that may write begins so. The epoch to answer a caller who knows another one, else null. */
  #open(epoch: number | null): { readonly kind: 'epoch'; readonly epoch: number } | null {
    this.clock.open();
    this.tree.room.wakes = [];
    this.tree.room.outcomes.clear();
    const other = this.clock.otherEpoch(epoch);
    return other === null ? null : { kind: 'epoch', epoch: other };
  }

  #write<T>(work: () => T): T {
    endHolds(this.tree);
    const answer = work();
    this.#reap();
    this.#conclude();
    return answer;
  }

  #reap(): void {
    for (const lease of this.tree.leases.due()) expire(this.tree, lease, 0);
  }

  #conclude(): void {
    this.#late = reapWaiters(this.tree);
    this.#left = dispatch(this.tree);
    if (this.tree.room.waiters.length === 0) this.tree.room.forget();
  }

  /** When the engine wants to be asked again. */
  #tick(): Tick {
    const { room, leases, now } = this.tree;
    const { logicalMs: serverNowMs } = now;
    const timers = [...room.timers.values()].filter((atMs) => this.#left !== 'root' || atMs > serverNowMs);
    const least = Math.min(...timers, ...leases.holds.map(({ untilMs }) => untilMs));
    if (this.#left === 'more' || this.#late) return { serverNowMs, nextTickMs: serverNowMs };
    return { serverNowMs, nextTickMs: least === Infinity ? null : least };
  }

  #verdict(answer: terms.Verdict | Waiter): terms.Verdict {
    if (!isWaiter(answer)) return answer;
    const { id } = answer.request;
    const outcome = this.tree.room.outcomes.get(id);
    return outcome ?? { kind: 'queued', id, epoch: this.clock.epoch, ...this.#standing(answer), ...this.#tick() };
  }

  #standing(waiter: Waiter): { readonly position: number; readonly etaMs: number | null } {
    const { room, now } = this.tree;
    const atMs = room.timers.get(room.subs.get(waiter.sub)?.x ?? '');
    return { position: room.positionOf(waiter), etaMs: atMs === undefined ? null : Math.max(0, atMs - now.logicalMs) };
  }
}
