/**
 * Asks the reference model everything a ledger says the engine was asked, by the same clock, and compares what both said
 * (rule L1). Pure.
 */
import { isDeepStrictEqual } from 'node:util';
import type { CallEntry, EpochEntry, Fingerprint, LedgerCall, LedgerEntry, StateEntry } from './terms.ts';
import { Model } from '../model.ts';
import { restoreModel } from './restore.ts';

/** A call that the model answers in another way, or leaves in another state. */
export interface Difference {
  /** Of the entry in the stream. */
  readonly id: string;
  readonly seq: number;
  /** Server's clock. */
  readonly atMs: number;
  readonly op: LedgerCall['op'] | 'checkpoint';
  /** The call's, lease's or owner's name. */
  readonly subject: string;
  /** Of the reply or of the state after it: what the ledger says and what the model does. */
  readonly ledger: unknown;
  readonly model: unknown;
}

export interface ReplayCounts {
  /** Calls that were compared. */
  checked: number;
  /** Calls that no model was there for: before the first point where a replay can begin, or after a gap. */
  skipped: number;
  /** Denials without an entry of their own. */
  denied: number;
  epochs: number;
  gaps: number;
}

/** Told of every call that is compared. */
export interface ReplayListener {
  /** The state is known from here on, and whatever was before is of no use. */
  begins?(make: () => Model): void;
  before?(call: LedgerCall, model: Model, entry: CallEntry): void;
  after?(call: LedgerCall, model: Model, entry: CallEntry): void;
}

export class Replay {
  readonly counts: ReplayCounts = { checked: 0, skipped: 0, denied: 0, epochs: 0, gaps: 0 };
  readonly #listener: ReplayListener;
  /** Null: nobody knows the state. */
  #model: Model | null = null;
  #seq: number | null = null;
  #parts: StateEntry[] = [];
  /** The model could not do what the last call did. */
  #isBehind = false;

  constructor(listener: ReplayListener = {}) {
    this.#listener = listener;
  }

  /** The tree as it stands after the last entry. */
  get model(): Model | null {
    return this.#model;
  }

  /** Takes the next entry. */
  take(entry: LedgerEntry): Difference | null {
    if (this.#seq !== null && entry.seq !== this.#seq + 1 && !(entry.kind === 'epoch' && entry.isEmpty)) this.#lose();
    this.#seq = entry.seq;
    switch (entry.kind) {
      case 'call':
        return this.#call(entry);
      case 'epoch':
        this.#begin(entry);
        return null;
      case 'denials':
        for (const { count } of entry.denials) this.counts.denied += count;
        return null;
      case 'gap':
        if (entry.why === 'memory') this.#lose();
        return null;
      case 'state':
        return this.#part(entry);
    }
  }

  /** A whole checkpoint begins a replay, or shows that the model still stands where the engine does. */
  #part(part: LedgerEntry & StateEntry): Difference | null {
    this.#parts.push(part);
    if (!part.isLast) return null;
    const parts = this.#parts;
    this.#parts = [];
    const before = this.#model;
    if (!before || this.#isBehind) {
      this.#isBehind = false;
      this.#start(() => restoreModel(parts));
      return null;
    }
    const restored = restoreModel(parts);
    this.#model = restored;
    before.clock.look();
    const [ledger, model] = [restored.snapshot(), before.snapshot()];
    if (isDeepStrictEqual(ledger, model)) return null;
    const atMs = restored.clock.wallMs;
    return { id: part.id, seq: part.seq, atMs, op: 'checkpoint', subject: '', ledger, model };
  }

  #begin({ identity, isEmpty }: EpochEntry): void {
    this.counts.epochs += 1;
    if (isEmpty) this.#start(() => new Model());
    this.#model?.clock.restartAs(identity);
  }

  #start(make: () => Model): void {
    this.#model = make();
    this.#listener.begins?.(make);
  }

  #lose(): void {
    if (this.#model !== null) this.counts.gaps += 1;
    this.#model = null;
    this.#parts = [];
  }

  #call(entry: LedgerEntry & CallEntry): Difference | null {
    const { call, wallUs, before } = entry;
    const model = this.#model;
    if (!model) {
      this.counts.skipped += 1;
      return null;
    }
    if (before) model.clock.resume(before);
    model.clock.setUs(wallUs);
    this.#listener.before?.(call, model, entry);
    const said = ask(model, call);
    this.#listener.after?.(call, model, entry);
    this.counts.checked += 1;
    this.#isBehind =
      call.op === 'calibrate' || (call.op === 'configure' && call.remembered.length + call.learnt.length > 0);
    // What it could not do cannot be compared.
    return this.#isBehind ? null : differenceOf(entry, said, stateOf(model));
  }
}

function differenceOf(entry: LedgerEntry & CallEntry, said: unknown, state: Fingerprint): Difference | null {
  const { id, seq, call, wallUs, after } = entry;
  const told = 'reply' in call && said !== undefined ? call.reply : undefined;
  const where = { id, seq, atMs: Math.floor(wallUs / 1000), op: call.op, subject: subjectOf(call) };
  if (!isDeepStrictEqual(said, told)) return { ...where, ledger: told, model: said };
  if (!isDeepStrictEqual(state, after)) return { ...where, ledger: after, model: state };
  return null;
}

function stateOf({ clock, tree }: Model): Fingerprint {
  const { room, leases } = tree;
  return { fence: clock.fence, seq: room.seq, waiting: room.waiters.length, leases: leases.live.length };
}

/** What the model answers; undefined: it says nothing to such a call. */
export function ask(model: Model, call: LedgerCall): unknown {
  switch (call.op) {
    case 'acquire':
      return model.acquire(call.request);
    case 'claim':
      return model.claim({ ...call.lease, epoch: 0 });
    case 'settle':
      return model.settle(call.settlements, call.epoch);
    case 'swap':
      return model.swap(call.settlement, call.request, call.epoch);
    case 'cancel':
      return model.cancel(call.id, call);
    case 'beat': {
      const { owner, epoch, waiters, leases } = call.request;
      const named = leases ?? leaseNames(model, owner);
      return model.beat({ owner, epoch, waiters, leases: named.map((lease) => ({ ...lease, epoch: 0 })) });
    }
    case 'register':
      return model.register(call.request);
    case 'tick':
      return model.tick();
    case 'configure':
      return model.configure(call.tree, call.revision, call);
    default:
      return govern(model, call);
  }
}

type Governing = Extract<
  LedgerCall,
  { op: 'reclaim' | 'drain' | 'declareMove' | 'freeze' | 'resetWindow' | 'calibrate' }
>;

function govern(model: Model, call: Governing): unknown {
  switch (call.op) {
    case 'reclaim':
      return model.reclaim(call.owners);
    case 'drain':
      return model.drain(call.process, call.draining);
    case 'declareMove':
      return model.declareMove(call.move);
    case 'freeze':
      return model.freeze(call.node, call.untilMs);
    case 'resetWindow':
      return model.resetWindow(call.node, call.limit);
    case 'calibrate':
      // The model does not follow the vendor's counters; a checkpoint comes next.
      model.tick();
      return undefined;
  }
}

/** The live leases of an owner. */
export function leaseNames({ tree }: Model, owner: string): readonly { readonly id: string; readonly fence: number }[] {
  const own = tree.leases.live.filter(({ request }) => request.owner === owner);
  return own.map(({ request: { id }, fence }) => ({ id, fence }));
}

function subjectOf(call: LedgerCall): string {
  if ('request' in call) return 'id' in call.request ? call.request.id : call.request.owner;
  if ('settlements' in call) return call.settlements.map(({ id }) => id).join(' ');
  if ('node' in call) return call.node;
  switch (call.op) {
    case 'claim':
      return call.lease.id;
    case 'cancel':
      return call.id;
    case 'configure':
      return `generation ${call.revision.generation}`;
    case 'tick':
      return '';
    default:
      return aimOf(call);
  }
}

function aimOf(call: Exclude<Governing, { readonly node: string }>): string {
  switch (call.op) {
    case 'reclaim':
      return call.owners.prefix;
    case 'drain':
      return call.process;
    case 'calibrate':
      return call.reading.limit;
    case 'declareMove':
      return new Date(call.move.untilMs).toISOString();
  }
}
