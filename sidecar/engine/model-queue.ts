/**
 * Reference model: who waits, and where (rules Q1, Q2). Flows share by virtual time; a flow has one FIFO (sub-queue) for
 * each kind of call; a sub-queue whose head does not fit is parked at its bottleneck X until X is woken. Pure.
 */
import { createHash } from 'node:crypto';
import { ENGINE_CONSTANTS } from './constants.ts';
import { SYSTEM_X } from './model-check.ts';
import { ATTRIBUTES } from './model-path.ts';
import { type AcquireRequest, type Denied, type Grant } from './terms.ts';
import { PRIORITY_CLASSES, type NodeName, type PriorityClass } from './tree-terms.ts';

export interface Waiter {
  readonly request: AcquireRequest;
  readonly class: PriorityClass;
  /** Names of its flow and its sub-queue. */
  readonly flow: string;
  readonly sub: string;
  /** Owners of one flow take turns: lower rounds first, within a round who came first. */
  readonly round: number;
  readonly seq: number;
  deadlineMs: number;
  /** When it ends without another sign of life. */
  endsMs: number;
  /** When it joined the queue; a retry joins anew. */
  readonly sinceMs: number;
}

export interface Flow {
  readonly birth: number;
  readonly leaf: NodeName;
  readonly class: PriorityClass;
  /** Virtual time at which its next grant starts. */
  tag: number;
  round: number;
  /** Owner → its latest round, as long as one of its calls may wait. */
  readonly turns: Map<string, Turn>;
  /** X → virtual time there at which its next grant starts: its place among the flows that are parked there. */
  readonly local: Map<string, number>;
}

export interface SubQueue {
  readonly name: string;
  readonly birth: number;
  readonly flow: Flow;
  /** Where it is parked; null: its head may be dispatched. */
  x: string | null;
}

export interface Bottleneck {
  /** Virtual time of grants that passed here. */
  time: number;
  /** The first that was parked here at the last grant (by birth), and how many grants have passed it. */
  first: number | null;
  bypassed: number;
  /** Where a dispatch that ran out of budget goes on. */
  cursor: Cursor | null;
}

/**
 * A place among those parked at a bottleneck: flows by local tag, then birth, whatever number of sub-queues each has there;
 * these by their heads.
 */
export interface Cursor {
  readonly tag: number;
  readonly birth: number;
  readonly round: number;
  readonly seq: number;
}

/** A bottleneck that may have room, while a call works on it. */
export interface Wake {
  readonly x: string;
  cursor: Cursor | null;
  /** The sub-queue that was moved from it last and was not looked at yet. */
  moved: SubQueue | null;
}

export interface Turn {
  readonly round: number;
  readonly untilMs: number;
}

interface Kept<T> {
  readonly value: T;
  readonly untilMs: number;
}
export interface Place {
  readonly sub: string;
  readonly round: number;
  readonly seq: number;
}

export class WaitingRoom {
  waiters: Waiter[] = [];
  readonly flows = new Map<string, Flow>();
  readonly subs = new Map<string, SubQueue>();
  readonly bottlenecks = new Map<string, Bottleneck>();
  /** X → logical ms at which it is looked at again. */
  readonly timers = new Map<string, number>();
  /** Virtual time. */
  time = 0;
  guard: { readonly x: string; readonly sub: string } | null = null;
  readonly notices = new Map<string, Kept<{ readonly owner: string; readonly denial: Denied }>>();
  readonly places = new Map<string, Kept<Place>>();
  /** Of the call that is at work: what it woke, what became of waiters. */
  wakes: Wake[] = [];
  readonly outcomes = new Map<string, Grant | Denied>();
  #seq = 0;

  /** Births and places so far. */
  get seq(): number {
    return this.#seq;
  }

  set seq(seq: number) {
    this.#seq = seq;
  }

  nextSeq(): number {
    this.#seq += 1;
    return this.#seq;
  }

  wipe(): void {
    this.waiters = [];
    this.forget();
    this.notices.clear();
    this.places.clear();
    this.#seq = 0;
  }

  /** An empty waiting room leaves nothing behind. */
  forget(): void {
    for (const map of [this.flows, this.subs, this.bottlenecks, this.timers]) map.clear();
    this.wakes = [];
    this.time = 0;
    this.guard = null;
  }

  find(id: string): Waiter | undefined {
    return this.waiters.find(({ request }) => request.id === id);
  }

  /** Waiters of a sub-queue, first come first. */
  inLine(sub: string): readonly Waiter[] {
    return this.waiters.filter((each) => each.sub === sub).toSorted((a, b) => a.round - b.round || a.seq - b.seq);
  }

  headOf(sub: string): Waiter | undefined {
    return this.inLine(sub)[0];
  }

  positionOf(waiter: Waiter): number {
    return 1 + this.inLine(waiter.sub).indexOf(waiter);
  }

  parkedAt(x: string): readonly SubQueue[] {
    return [...this.subs.values()]
      .filter((sub) => sub.x === x)
      .toSorted((a, b) => compare(this.cursorOf(a, x), this.cursorOf(b, x)));
  }

  cursorOf({ name, flow }: SubQueue, x: string): Cursor {
    const { round = 0, seq = 0 } = this.headOf(name) ?? {};
    return { tag: flow.local.get(x) ?? 0, birth: flow.birth, round, seq };
  }

  get runnable(): readonly SubQueue[] {
    return [...this.subs.values()].filter(({ x }) => x === null);
  }

  /** The flow of a call. One without waiters that is nowhere ahead of the others starts anew. */
  flowOf({ flow: name, class: priority, request }: Pick<Waiter, 'flow' | 'class' | 'request'>): Flow {
    const known = this.flows.get(name);
    if (known && (this.#isAhead(known) || this.waiters.some(({ flow }) => flow === name))) return known;
    const flow = {
      birth: this.nextSeq(),
      leaf: request.leaf,
      class: priority,
      tag: this.time,
      // Round 0 is for retries: they go before everybody.
      round: 1,
      turns: new Map(),
      local: new Map(),
    };
    this.flows.set(name, flow);
    return flow;
  }

  /** Joins its sub-queue; whether that is parked is up to the caller, if the waiter is its head. */
  join(waiter: Waiter, flow: Flow): SubQueue {
    const sub = this.subs.get(waiter.sub) ?? { name: waiter.sub, birth: this.nextSeq(), flow, x: null };
    if (this.waiters.every(({ flow: name }) => name !== waiter.flow)) flow.tag = Math.max(flow.tag, this.time);
    this.subs.set(waiter.sub, sub);
    this.waiters.push(waiter);
    return sub;
  }

  leave(waiter: Waiter): void {
    const wasHead = this.headOf(waiter.sub) === waiter;
    this.waiters = this.waiters.filter((each) => each !== waiter);
    if (wasHead && this.guard?.sub === waiter.sub) this.endGuard();
    const sub = this.subs.get(waiter.sub);
    if (!this.headOf(waiter.sub)) this.subs.delete(waiter.sub);
    else if (wasHead && sub) this.makeRunnable(sub);
    if (waiter.class !== 'System') this.wake(SYSTEM_X);
  }

  makeRunnable(sub: SubQueue): void {
    sub.x = null;
    sub.flow.tag = Math.max(sub.flow.tag, this.time);
  }

  /** `keepsPlace`: it stood there a moment ago and was not looked at. */
  park(sub: SubQueue, x: string, { keepsPlace = false } = {}): void {
    const bottleneck = this.bottlenecks.get(x) ?? { time: 0, first: null, bypassed: 0, cursor: null };
    this.bottlenecks.set(x, bottleneck);
    const { local } = sub.flow;
    if (!keepsPlace) local.set(x, Math.max(bottleneck.time, local.get(x) ?? 0));
    sub.x = x;
    if (this.guard?.sub === sub.name && this.guard.x !== x) this.endGuard();
    if (sub.flow.class !== 'System') this.wake(SYSTEM_X);
  }

  endGuard(): void {
    const { guard } = this;
    this.guard = null;
    if (guard) this.wake(guard.x);
  }

  setTimer(x: string, atMs: number | null): void {
    if (atMs !== null) this.timers.set(x, Math.min(this.timers.get(x) ?? Infinity, atMs));
  }

  /** Whoever is parked at X is looked at before this call ends (rule Q6). */
  wake(x: string, by: 'event' | 'timer' = 'event'): void {
    const bottleneck = this.bottlenecks.get(x);
    if (!bottleneck || this.wakes.some((each) => each.x === x)) return;
    const cursor = by === 'timer' ? bottleneck.cursor : null;
    bottleneck.cursor = null;
    if (this.parkedAt(x).length > 0) this.wakes.push({ x, cursor, moved: null });
  }

  /** Calls are counted on other nodes than before: nobody is parked where it may not pass any more. */
  releaseAll(): void {
    for (const sub of this.subs.values()) if (sub.x !== null) this.makeRunnable(sub);
  }

  wakeAll(): void {
    for (const x of [...this.bottlenecks.keys()].toSorted()) this.wake(x);
  }

  #isAhead({ tag, local }: Flow): boolean {
    return tag > this.time || [...local].some(([x, finish]) => finish > (this.bottlenecks.get(x)?.time ?? Infinity));
  }

  notice(id: string, owner: string, nowMs: number): Denied | null {
    const kept = this.notices.get(id);
    return kept && kept.value.owner === owner && nowMs < kept.untilMs ? kept.value.denial : null;
  }
}

/** A sign of life of whoever asked for it. */
export function hear(waiter: Waiter, { logicalMs }: { readonly logicalMs: number }): void {
  waiter.endsMs = Math.min(waiter.deadlineMs, logicalMs + ENGINE_CONSTANTS.WAITER_TTL_MS);
}

export const compare = (a: Cursor, b: Cursor): number =>
  a.tag - b.tag || a.birth - b.birth || a.round - b.round || a.seq - b.seq;
export const placeKey = (owner: string, place: string): string => `${owner}\0${place}`;

/** As the engine's names: a flow without waiters can be told by nothing else in a checkpoint. */
const hashed = (text: string): string => createHash('sha1').update(text).digest('hex').slice(0, 20);

/** Names of a call's flow and sub-queue. */
export function lineOf(
  request: AcquireRequest,
  priority: PriorityClass,
): { readonly flow: string; readonly sub: string } {
  const flow = hashed([request.leaf, PRIORITY_CLASSES.indexOf(priority) + 1, request.flowKey].join('\n'));
  const attributes = ATTRIBUTES.map((name) => request.attributes[name] ?? '');
  return { flow, sub: hashed([flow, request.model, ...attributes].join('\u001F')) };
}
