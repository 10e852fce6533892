/** A ledger as what its callers did, apart from what they were told: who asked when, and how long each call ran. Pure. */
import type { Model } from '../model.ts';
import type { AcquireRequest, Settlement } from '../terms.ts';
import { Replay, type ReplayCounts } from './replay.ts';
import type { LedgerCall, LedgerEntry } from './terms.ts';

/** A call from its first question to its last end. */
export interface HistoryCall {
  readonly request: AcquireRequest;
  /** Its runs: several if the vendor refused it and it was sent again. Empty: it never ran, or nobody told how it ended. */
  readonly runs: Run[];
  /** Of a run without an end: how long its owner held on to it; null: to the end of the ledger. */
  heldMs: number | null;
}

interface Run {
  readonly forMs: number;
  readonly settlement: Settlement;
}

/** What an operator does to a tree. */
export type Governing = Extract<LedgerCall, { op: 'configure' | 'reclaim' | 'drain' | 'freeze' | 'resetWindow' }>;

export type HistoryEvent = { readonly atUs: number } & (
  | { readonly do: 'ask'; readonly id: string }
  | { readonly do: 'cancel'; readonly id: string; readonly keepPlace: boolean }
  /** The end of a call that ran before the history begins. */
  | { readonly do: 'settle'; readonly settlement: Settlement }
  | { readonly do: 'govern'; readonly call: Governing }
);

export interface History {
  /** The tree as it was at the beginning. */
  begin(): Model;
  /** Wall time minus logical time at the beginning, µs. Events are in logical time. */
  readonly offsetUs: number;
  /** Of the last call. */
  readonly endUs: number;
  readonly events: readonly HistoryEvent[];
  readonly calls: ReadonlyMap<string, HistoryCall>;
  readonly counts: ReplayCounts;
}

/** The part of a ledger since its state is known without a break; null: it never is. */
export async function historyOf(entries: AsyncIterable<LedgerEntry> | Iterable<LedgerEntry>): Promise<History | null> {
  let writer: HistoryWriter | null = null;
  const replay = new Replay({
    begins: (make) => {
      writer = new HistoryWriter(make);
    },
    before: (call, model) => writer?.before(call, model),
    after: (call, model) => writer?.after(call, model),
  });
  for await (const entry of entries) replay.take(entry);
  return (writer as HistoryWriter | null)?.finish(replay) ?? null;
}

const GOVERNING: readonly string[] = ['configure', 'reclaim', 'drain', 'freeze', 'resetWindow'];
const isGoverning = (call: LedgerCall): call is Governing => GOVERNING.includes(call.op);

class HistoryWriter {
  readonly #make: () => Model;
  readonly #events: HistoryEvent[] = [];
  readonly #calls = new Map<string, HistoryCall>();
  #offsetUs: number | null = null;
  #endUs = 0;

  constructor(make: () => Model) {
    this.#make = make;
  }

  before(call: LedgerCall, model: Model): void {
    const atUs = model.clock.logicalUs;
    this.#offsetUs ??= model.clock.wallUs - atUs;
    this.#endUs = atUs;
    switch (call.op) {
      case 'acquire':
        return this.#ask(atUs, call.request);
      case 'settle':
        for (const each of call.settlements) this.#settle(atUs, each, model);
        return undefined;
      case 'swap':
        this.#settle(atUs, call.settlement, model);
        // With its own id it is another run of the same call.
        return call.settlement.id === call.request.id ? undefined : this.#ask(atUs, call.request);
      case 'cancel':
        this.#events.push({ atUs, do: 'cancel', id: call.id, keepPlace: call.keepPlace });
        return undefined;
      default:
        if (isGoverning(call)) this.#events.push({ atUs, do: 'govern', call });
        return undefined;
    }
  }

  /** Notes which leases their owner still held on to. */
  after(call: LedgerCall, { tree }: Model): void {
    if (call.op !== 'beat') return;
    const { logicalMs } = tree.now;
    for (const { request, grantedMs } of tree.leases.live) {
      const known = this.#calls.get(request.id);
      if (known && request.owner === call.request.owner) known.heldMs = logicalMs - grantedMs;
    }
  }

  finish({ model, counts }: Replay): History {
    // Whoever still runs at the end is taken to run on.
    for (const { request } of model?.tree.leases.live ?? []) {
      const known = this.#calls.get(request.id);
      if (known) known.heldMs = null;
    }
    const [make, events, calls] = [this.#make, this.#events, this.#calls];
    return { begin: make, offsetUs: this.#offsetUs ?? 0, endUs: this.#endUs, events, calls, counts };
  }

  #ask(atUs: number, request: AcquireRequest): void {
    if (this.#calls.has(request.id)) return;
    this.#calls.set(request.id, { request, runs: [], heldMs: 0 });
    this.#events.push({ atUs, do: 'ask', id: request.id });
  }

  #settle(atUs: number, settlement: Settlement, { tree }: Model): void {
    const lease = tree.leases.find(settlement.id);
    if (lease?.fence !== settlement.fence) return;
    const known = this.#calls.get(settlement.id);
    if (known) known.runs.push({ forMs: Math.floor(atUs / 1000) - lease.grantedMs, settlement });
    else this.#events.push({ atUs, do: 'settle', settlement });
  }
}
