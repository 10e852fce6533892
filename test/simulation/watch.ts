/**
 * The oracle of calls in flight. It stands at the vendor: a call counts from the moment it is sent until the vendor has
 * done with it. Of the engine it only takes who was granted what, when, and whom Redis has heard of.
 */
import type { Grant } from '#sidecar/engine/terms.ts';
import type { NodeConfig } from '#sidecar/engine/tree-terms.ts';
import { DRIFT } from './party.ts';
import type { Reach } from './reach.ts';
import type { Schedule } from './schedule.ts';
import type { Server } from './server.ts';
import { pathIn } from './tree.ts';

/** A grant as the world sees it. */
export interface GrantFact {
  readonly id: string;
  readonly fence: number;
  readonly sidecar: string;
  /** Grants are numbered as they were made, whoever made them. */
  readonly order: number;
  readonly atMs: number;
  /** Nodes that were to count it, as they were configured then. */
  readonly path: readonly NodeConfig[];
  /** Grants whose calls Redis could not know of any more when it made this one, through no fault of its own. */
  readonly excused: ReadonlySet<GrantFact>;
  sentMs: number | null;
}

export interface CallFact {
  readonly sidecar: string;
  /** Null: its sidecar started it without Redis. */
  readonly grant: GrantFact | null;
  readonly nodes: readonly string[];
  readonly sentMs: number;
  acceptedMs: number | null;
  firstByteMs: number | null;
  /** When it was answered to the end, or cut. */
  endedMs: number | null;
}

export interface WatchOptions {
  readonly schedule: Schedule;
  readonly reachOf: (sidecar: string) => Reach;
  readonly servers: () => readonly Server[];
  readonly violated: (rule: string, numbers: string) => void;
}

const UNANSWERED = { acceptedMs: null, firstByteMs: null, endedMs: null };
/** A lifetime and what a call may take to be carried out. */
const LOOK_BACK_MS = 18_000;
/** How long the slot of a call that was cut is held back. */
const HOLD_MS = 2000;
/** Redis counts in whole milliseconds. */
const CLOCK_GRAIN_MS = 1;

export class Watch {
  readonly calls: CallFact[] = [];
  /** Node → most calls in flight at once, and the highest limit it ever had. */
  readonly most = new Map<string, number>();
  readonly limits = new Map<string, number>();
  /** Calls in flight. */
  readonly running = new Set<CallFact>();
  /** Id → its latest grant, and all there were. */
  readonly grants = new Map<string, GrantFact>();
  readonly keys = new Set<string>();
  /** When Redis' clock was set, and by how much. */
  readonly steps: { readonly atMs: number; readonly byMs: number }[] = [];
  lastGrantMs = 0;
  longestDelayMs = 0;
  readonly #options: WatchOptions;
  /** Granted, and not over as far as is known. */
  readonly #open = new Set<GrantFact>();
  /** Frozen nodes, and until when. */
  readonly #closedUntilMs = new Map<string, number>();
  #order = 0;

  constructor(options: WatchOptions) {
    this.#options = options;
  }

  granted({ id, fence }: Grant, server: Server): void {
    const { schedule, violated } = this.#options;
    const request = server.model.tree.leases.find(id)?.request;
    const nodes = server.model.tree.config?.tree.nodes ?? [];
    if (request === undefined) return violated('a grant without a lease', id);
    if (server.ended.has(id)) violated('inv-I6 granted after it was cancelled', id);
    const excused = new Set([...this.#open].filter((each) => this.#isExcused(each, server)));
    const sidecar = request.owner.slice(0, request.owner.indexOf('/'));
    const path = pathIn(nodes, request.leaf, request.model);
    const fact = { id, fence, sidecar, order: ++this.#order, atMs: schedule.nowMs, path, excused, sentMs: null };
    for (const node of path) this.#noteLimit(node);
    const closed = path.find(({ name }) => schedule.nowMs < (this.#closedUntilMs.get(name) ?? 0));
    if (closed !== undefined) violated('granted at a node that is frozen', `${id} at ${closed.name}`);
    this.grants.set(id, fact);
    this.keys.add(keyOf(fact));
    this.#open.add(fact);
    this.lastGrantMs = schedule.nowMs;
  }

  /** From now on nothing may be granted there, until then. */
  closed(node: string, untilMs: number): void {
    this.#closedUntilMs.set(node, untilMs);
  }

  stepped(byMs: number): void {
    this.steps.push({ atMs: this.#options.schedule.nowMs, byMs });
  }

  #noteLimit({ name, concurrency, observe }: NodeConfig): void {
    const most = observe ? Infinity : (concurrency ?? Infinity);
    this.limits.set(name, Math.max(this.limits.get(name) ?? 0, most));
  }

  /** Its first byte goes out. `nodes`: where it is counted if no grant says so. */
  sent(id: string, of: { readonly sidecar: string; readonly nodes: readonly string[] }): CallFact {
    const { schedule } = this.#options;
    const { nowMs } = schedule;
    const grant = this.grants.get(id) ?? null;
    const nodes = grant?.path.map(({ name }) => name) ?? of.nodes;
    const call: CallFact = { sidecar: of.sidecar, grant, nodes, sentMs: nowMs, ...UNANSWERED };
    this.calls.push(call);
    this.running.add(call);
    for (const node of nodes) this.most.set(node, Math.max(this.most.get(node) ?? 0, this.inFlight(node)));
    if (grant !== null) this.#start(grant);
    this.#check();
    return call;
  }

  #start(grant: GrantFact): void {
    const { schedule, servers, violated } = this.#options;
    const { nowMs } = schedule;
    if (grant.sentMs !== null) violated('inv-I5 sent twice by one grant', `${grant.id}, first at ${grant.sentMs} ms`);
    grant.sentMs = nowMs;
    this.longestDelayMs = Math.max(this.longestDelayMs, nowMs - grant.atMs);
    const standsMs = Math.max(...servers().map((each) => each.standsUntilMs.get(grant.id) ?? -Infinity));
    if (nowMs > standsMs)
      violated('T2 started on a lease that is gone', `${grant.id}: ${nowMs - standsMs} ms too late`);
  }

  accepted(call: CallFact): void {
    call.acceptedMs = this.#options.schedule.nowMs;
  }

  answered(call: CallFact): void {
    call.firstByteMs = this.#options.schedule.nowMs;
  }

  /** Its caller hears no more of it; the vendor may go on for a while. */
  cut(call: CallFact): void {
    call.endedMs ??= this.#options.schedule.nowMs;
  }

  /** What its process was granted and has not sent will never be. */
  died(sidecar: string): void {
    for (const grant of this.#open) if (grant.sidecar === sidecar && grant.sentMs === null) this.#open.delete(grant);
  }

  /** The vendor counts it no longer. */
  ended(call: CallFact): void {
    this.cut(call);
    this.running.delete(call);
    if (call.grant !== null) this.#open.delete(call.grant);
  }

  /** It will never be sent. */
  dropped(id: string): void {
    const grant = this.grants.get(id);
    if (grant !== undefined && grant.sentMs === null) this.#open.delete(grant);
  }

  inFlight(node: string): number {
    let count = 0;
    for (const call of this.running) if (call.nodes.includes(node) && !this.#isLetGo(call)) count += 1;
    return count;
  }

  /** Cut, and its hold (rule T6) is over by Redis' clock, set forward meanwhile: one that is set back it does not notice. */
  #isLetGo({ endedMs }: CallFact): boolean {
    if (endedMs === null) return false;
    const stepsMs = this.steps.filter(({ atMs }) => atMs >= endedMs).map(({ byMs }) => Math.max(0, byMs));
    const passedMs = (this.#options.schedule.nowMs - endedMs) * (1 + DRIFT) + CLOCK_GRAIN_MS;
    return stepsMs.reduce((sum, byMs) => sum + byMs, passedMs) >= HOLD_MS;
  }

  /** inv-I1: at no node was anything granted while as many calls were in flight as its limit was. */
  #check(): void {
    const known = [...this.running].flatMap((call) => (this.#isLetGo(call) ? [] : (call.grant ?? [])));
    for (const last of known) {
      for (const { name, concurrency, observe } of last.path) {
        if (concurrency === null || observe) continue;
        const before = known.filter(
          (each) => each.order <= last.order && !last.excused.has(each) && each.path.some((node) => node.name === name),
        );
        if (before.length > concurrency)
          this.#options.violated(`inv-I1 in flight at ${name}`, tell(before, concurrency));
      }
    }
  }

  #isExcused({ id, sidecar }: GrantFact, server: Server): boolean {
    const { nowMs } = this.#options.schedule;
    if ((server.standsUntilMs.get(id) ?? -Infinity) >= nowMs) return false;
    return this.#options.reachOf(sidecar).mayBeLost(nowMs - LOOK_BACK_MS);
  }
}

/** Names one grant. */
export const keyOf = ({ id, fence }: Pick<GrantFact, 'id' | 'fence'>): string => `${id} ${fence}`;

function tell(grants: readonly GrantFact[], limit: number): string {
  const all = grants.map(({ id, sidecar, atMs }) => `${id} of ${sidecar} granted at ${atMs.toFixed(1)} ms`);
  return `${grants.length} > ${limit}: ${all.join(', ')}`;
}
