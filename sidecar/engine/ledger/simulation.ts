/**
 * A history played again on the reference model, with another tree if one likes: the same calls ask at the same times and
 * run as long as they did. What was never granted runs as long as others of its model. Pure.
 */
import { ENGINE_CONSTANTS } from '../constants.ts';
import type { Model } from '../model.ts';
import type { AcquireRequest, Denied, Grant, Settlement, Verdict } from '../terms.ts';
import type { TreeConfig } from '../tree-terms.ts';
import { ask, leaseNames } from './replay.ts';
import type { Governing, History, HistoryCall, HistoryEvent } from './history.ts';

/** What became of a call's first question. */
export type Fate =
  | { readonly kind: 'granted'; readonly waitedMs: number; readonly waitedAt: Place | null }
  | ({ readonly kind: 'denied'; readonly reason: string; readonly waitedMs: number } & Place)
  /** Nobody had told it when the ledger ended, or its caller left. */
  | { readonly kind: 'open' };

/** A node, and its limit where it is one: `slots` for what comes one by one. */
export interface Place {
  readonly node: string;
  readonly limit: string;
}

/** Another tree in the place of one that was configured. */
export type Change = (tree: TreeConfig) => TreeConfig;

const BEAT_US = ENGINE_CONSTANTS.BEAT_MS * 1000;
/** How long a call runs when nothing is known of any. */
const USUAL_MS = 10_000;

export function simulate(history: History, change: Change): ReadonlyMap<string, Fate> {
  return new Simulation(history, change).run();
}

interface Asked {
  readonly atMs: number;
  waitedAt: Place | null;
}

interface Due {
  readonly atUs: number;
  readonly act: () => void;
}

class Simulation {
  readonly #history: History;
  readonly #change: Change;
  readonly #model: Model;
  readonly #usual: ReadonlyMap<string, number>;
  readonly #agenda: Due[] = [];
  readonly #asked = new Map<string, Asked>();
  /** Call → runs that have ended. */
  readonly #ended = new Map<string, number>();
  /** Call → its latest grant: the queue's are heard twice. */
  readonly #started = new Map<string, number>();
  readonly #fates = new Map<string, Fate>();
  #tickUs: number | null = null;

  constructor(history: History, change: Change) {
    this.#history = history;
    this.#change = change;
    this.#model = history.begin();
    this.#usual = usualRuns(history.calls.values());
  }

  run(): ReadonlyMap<string, Fate> {
    const { events } = this.#history;
    const firstUs = events[0]?.atUs ?? 0;
    const { config } = this.#model.tree;
    if (config) this.#at(firstUs, () => this.#configure(config.tree));
    this.#plan(firstUs + BEAT_US, () => this.#beat());
    for (const event of events) {
      this.#until(event.atUs);
      this.#at(event.atUs, () => this.#happen(event));
    }
    this.#until(this.#history.endUs);
    for (const id of this.#asked.keys()) this.#fates.set(id, { kind: 'open' });
    return this.#fates;
  }

  /** Does what is due by then. */
  #until(atUs: number): void {
    for (let due = this.#agenda[0]; due && due.atUs <= atUs; due = this.#agenda[0]) {
      this.#agenda.shift();
      this.#at(due.atUs, due.act);
    }
  }

  /** Does something at a time, hears what became of waiters by it, and looks when the engine wants to be asked again. */
  #at(atUs: number, act: () => void): void {
    const { clock, tree } = this.#model;
    clock.setUs(atUs + this.#history.offsetUs);
    act();
    this.#hear();
    if (!tree.config) return;
    const { nextTickMs } = this.#model.tick();
    this.#hear();
    if (nextTickMs === null) return;
    const tickUs = Math.max(atUs + 1000, nextTickMs * 1000);
    if (this.#tickUs !== null && this.#tickUs > atUs && this.#tickUs <= tickUs) return;
    this.#tickUs = tickUs;
    this.#plan(tickUs, () => undefined);
  }

  #plan(atUs: number, act: () => void): void {
    const at = this.#agenda.findIndex((due) => due.atUs > atUs);
    this.#agenda.splice(at < 0 ? this.#agenda.length : at, 0, { atUs, act });
  }

  #happen(event: HistoryEvent): void {
    switch (event.do) {
      case 'ask': {
        const call = this.#history.calls.get(event.id);
        if (call) this.#ask(call);
        return;
      }
      case 'cancel':
        this.#model.cancel(event.id, event);
        if (this.#asked.delete(event.id)) this.#fates.set(event.id, { kind: 'open' });
        return;
      case 'settle':
        this.#settle(event.settlement);
        return;
      case 'govern':
        this.#govern(event.call);
    }
  }

  #govern(call: Governing): void {
    if (call.op === 'configure') this.#configure(call.tree);
    else ask(this.#model, call);
  }

  /** As the next generation: that of the ledger may be taken. */
  #configure(tree: TreeConfig): void {
    const before = this.#model.tree.config?.revision ?? { leaseCreatedMs: 0, transitions: 0, generation: 0 };
    this.#model.configure(this.#change(tree), { ...before, generation: before.generation + 1 });
  }

  #ask({ request }: HistoryCall): void {
    this.#asked.set(request.id, { atMs: this.#nowMs, waitedAt: null });
    this.#told(request.id, this.#model.acquire(this.#current(request)));
  }

  /** What callers know of tree and epoch is not what would be different. */
  #current(request: AcquireRequest): AcquireRequest {
    return { ...request, generation: this.#model.tree.config?.revision.generation ?? 0, epoch: null };
  }

  #told(id: string, verdict: Verdict): void {
    const asked = this.#asked.get(id);
    if (verdict.kind === 'queued' && asked) asked.waitedAt = this.#placeOf(id);
    else if (verdict.kind === 'granted' || verdict.kind === 'denied') this.#resolve(id, verdict);
    else if (asked) this.#resolve(id, null);
  }

  #hear(): void {
    const { outcomes } = this.#model.tree.room;
    for (const [id, outcome] of outcomes) this.#resolve(id, outcome);
    outcomes.clear();
  }

  /** Null: no such id can be asked for. */
  #resolve(id: string, verdict: Grant | Denied | null): void {
    const asked = this.#asked.get(id);
    this.#asked.delete(id);
    if (asked) this.#fates.set(id, fateOf(verdict, asked, this.#nowMs));
    const call = this.#history.calls.get(id);
    if (verdict?.kind !== 'granted' || !call || this.#started.get(id) === verdict.fence) return;
    this.#started.set(id, verdict.fence);
    this.#start(call, verdict);
  }

  #start(call: HistoryCall, { id, grantedAtMs }: Grant): void {
    const number = this.#ended.get(id) ?? 0;
    const run = call.runs[number] ?? (call.runs.length === 0 && call.heldMs === 0 ? this.#usualRun(call) : null);
    if (run === null) return;
    this.#plan((grantedAtMs + run.forMs) * 1000, () => {
      this.#ended.set(id, number + 1);
      if (call.runs[number + 1] === undefined) this.#settle(run.settlement);
      else this.#again(run.settlement, call.request);
    });
  }

  #usualRun({ request }: HistoryCall): HistoryCall['runs'][number] {
    const forMs = this.#usual.get(request.model) ?? this.#usual.get('') ?? USUAL_MS;
    const times = { sentAfterMs: 0, firstByteAfterMs: forMs, holdMs: 0, frozenUntilMs: null };
    const { id, reserve: actual } = request;
    return { forMs, settlement: { id, fence: 0, outcome: 'completed', actual, ...times } };
  }

  #settle(settlement: Settlement): void {
    this.#model.settle([this.#ofNow(settlement)], null);
  }

  #again(settlement: Settlement, request: AcquireRequest): void {
    const { verdict } = this.#model.swap(this.#ofNow(settlement), this.#current(request), null);
    this.#told(request.id, verdict);
  }

  /** The lease has another number here. */
  #ofNow(settlement: Settlement): Settlement {
    return { ...settlement, fence: this.#model.tree.leases.find(settlement.id)?.fence ?? -1 };
  }

  #beat(): void {
    this.#plan(this.#model.clock.wallUs - this.#history.offsetUs + BEAT_US, () => this.#beat());
    const { leases, room } = this.#model.tree;
    const owners = new Set([...leases.live, ...room.waiters].map(({ request }) => request.owner));
    for (const owner of owners) {
      const waiters = room.waiters.filter(({ request }) => request.owner === owner).map(({ request }) => request.id);
      const held = leaseNames(this.#model, owner).filter(({ id }) => this.#isHeld(id));
      this.#model.beat({ owner, epoch: null, waiters, leases: held.map((lease) => ({ ...lease, epoch: 0 })) });
      this.#hear();
    }
  }

  #isHeld(id: string): boolean {
    const call = this.#history.calls.get(id);
    if (!call || call.runs.length > 0 || call.heldMs === null || call.heldMs === 0) return true;
    const grantedMs = this.#model.tree.leases.find(id)?.grantedMs ?? 0;
    return this.#nowMs <= grantedMs + call.heldMs;
  }

  #placeOf(id: string): Place {
    const { room } = this.#model.tree;
    const waiter = room.find(id);
    const x = room.subs.get(waiter?.sub ?? '')?.x ?? 'account';
    const at = x.lastIndexOf('|');
    return at < 0 ? { node: x, limit: 'slots' } : { node: x.slice(0, at), limit: x.slice(at + 1) };
  }

  get #nowMs(): number {
    return Math.floor(this.#model.clock.logicalUs / 1000);
  }
}

function fateOf(verdict: Grant | Denied | null, asked: Asked, nowMs: number): Fate {
  const waitedMs = asked.waitedAt === null ? 0 : nowMs - asked.atMs;
  if (verdict === null) return { kind: 'open' };
  if (verdict.kind === 'granted') return { kind: 'granted', waitedMs, waitedAt: asked.waitedAt };
  const { reason, node, limit } = verdict;
  return { kind: 'denied', reason, node, limit, waitedMs };
}

/** The median of how long calls ran, by model; '': of all. */
function usualRuns(calls: Iterable<HistoryCall>): ReadonlyMap<string, number> {
  const times = new Map<string, number[]>();
  const note = (name: string, forMs: number): void => {
    const known = times.get(name);
    if (known) known.push(forMs);
    else times.set(name, [forMs]);
  };
  for (const { request, runs } of calls) {
    for (const { forMs } of runs) {
      note(request.model, forMs);
      note('', forMs);
    }
  }
  return new Map([...times].map(([name, all]) => [name, all.toSorted((a, b) => a - b)[all.length >> 1] ?? USUAL_MS]));
}
