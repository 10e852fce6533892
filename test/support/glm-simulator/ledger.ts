/** The oracle's book: what every key did with every model, and the last calls one by one. */
import type { SurfaceName } from './refusal.ts';
import { NANO, type Tokens } from './money.ts';

/** How a call ended. `Refused` has a code; `Broken` was ended by a fault of the vendor. */
export type Ending = 'Completed' | 'Refused' | 'ClientClosed' | 'Broken';

/** One call and its bill. Monotonic times count from the simulator's start; `atMs` is the vendor's clock. */
export interface CallRecord {
  id: string;
  /** `request_id` of the body or header `x-request-id`. */
  clientId: string | null;
  account: string;
  key: string;
  surface: SurfaceName;
  requested: string;
  model: string;
  isStream: boolean;
  atMs: number;
  startMs: number;
  endMs: number;
  status: number;
  code: string | null;
  ending: Ending;
  tokens: Tokens;
  nanoCredits: number;
  nanoPrompts: number;
  nanoUsd: number;
  nanoCny: number;
}

export interface LedgerRow {
  account: string;
  key: string;
  model: string;
  calls: number;
  accepted: number;
  completed: number;
  clientClosed: number;
  broken: number;
  /** Calls answered with each code. */
  refused: Record<string, number>;
  tokens: Tokens;
  credits: number;
  prompts: number;
  usd: number;
  cny: number;
}

const CALLS_KEPT = 20_000;

interface Sums {
  credits: number;
  prompts: number;
  usd: number;
  cny: number;
}

export class Ledger {
  /** By key, then model. */
  #rows = new Map<string, Map<string, { row: LedgerRow; nano: Sums }>>();
  #calls: CallRecord[] = [];
  #next = 0;
  #total = 0;

  record(call: CallRecord): void {
    if (this.#calls.length < CALLS_KEPT) this.#calls.push(call);
    else this.#calls[this.#next] = call;
    this.#next = (this.#next + 1) % CALLS_KEPT;
    this.#total += 1;
    this.#add(call);
  }

  rows(): LedgerRow[] {
    return [...this.#rows.values()]
      .flatMap((models) => [...models.values()])
      .map(({ row, nano }) => ({
        ...row,
        credits: nano.credits / NANO,
        prompts: nano.prompts / NANO,
        usd: nano.usd / NANO,
        cny: nano.cny / NANO,
      }));
  }

  /** Calls that have ended, oldest first, at most the last 20,000. */
  calls(): CallRecord[] {
    if (this.#calls.length < CALLS_KEPT) return this.#calls;
    return [...this.#calls.slice(this.#next), ...this.#calls.slice(0, this.#next)];
  }

  get total(): number {
    return this.#total;
  }

  forget(): void {
    this.#rows.clear();
    this.#calls = [];
    this.#next = 0;
    this.#total = 0;
  }

  #add(call: CallRecord): void {
    const { row, nano } = this.#rowOf(call);
    row.calls += 1;
    if (call.ending === 'Refused') row.refused[call.code ?? ''] = (row.refused[call.code ?? ''] ?? 0) + 1;
    else row.accepted += 1;
    if (call.ending === 'Completed') row.completed += 1;
    if (call.ending === 'ClientClosed') row.clientClosed += 1;
    if (call.ending === 'Broken') row.broken += 1;
    row.tokens.input += call.tokens.input;
    row.tokens.cached += call.tokens.cached;
    row.tokens.output += call.tokens.output;
    row.tokens.reasoning += call.tokens.reasoning;
    nano.credits += call.nanoCredits;
    nano.prompts += call.nanoPrompts;
    nano.usd += call.nanoUsd;
    nano.cny += call.nanoCny;
  }

  #rowOf({ account, key, model }: CallRecord): { row: LedgerRow; nano: Sums } {
    const models = this.#rows.get(key) ?? new Map<string, { row: LedgerRow; nano: Sums }>();
    const known = models.get(model);
    if (known) return known;
    const row: LedgerRow = {
      account,
      key,
      model,
      calls: 0,
      accepted: 0,
      completed: 0,
      clientClosed: 0,
      broken: 0,
      refused: {},
      tokens: { input: 0, cached: 0, output: 0, reasoning: 0 },
      credits: 0,
      prompts: 0,
      usd: 0,
      cny: 0,
    };
    const made = { row, nano: { credits: 0, prompts: 0, usd: 0, cny: 0 } };
    models.set(model, made);
    this.#rows.set(key, models);
    return made;
  }
}
