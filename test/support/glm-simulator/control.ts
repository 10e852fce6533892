/** Client of a simulator's control API; speaks HTTP only, so the simulator may run anywhere. */
import type { ClockChange, ClockReading } from './clock.ts';
import type { FaultReport } from './faults.ts';
import type { CallRecord } from './ledger.ts';
import type { Report } from './report.ts';
import type { AccountConfig, FaultRule, Knobs, KnobsPatch } from './terms.ts';
import type { WindowReport } from './windows.ts';

export interface FlightReport {
  account: string;
  model: string;
  startMs: number;
  isAccepted: boolean;
}

export type CallFilter = Partial<
  Pick<CallRecord, 'account' | 'key' | 'model' | 'id' | 'ending'> & { clientId: string; code: string }
>;

/** Fields set to null are removed. */
export type AccountPatch = { [K in Exclude<keyof AccountConfig, 'id'>]?: AccountConfig[K] | null };

export class SimulatorControl {
  readonly #base: string;

  /** `origin` is the simulator's `controlUrl`. */
  constructor(origin: string) {
    this.#base = `${origin}/__sim/`;
  }

  report(): Promise<Report> {
    return this.#ask('GET', 'report');
  }

  /** Forgets what was counted; windows, balances and calls in flight go on. */
  async resetReport(): Promise<void> {
    await this.#ask('DELETE', 'report');
  }

  /** Ended calls with their bills, oldest first, at most the last 20,000. */
  calls(filter: CallFilter = {}): Promise<CallRecord[]> {
    return this.#ask('GET', `calls?${new URLSearchParams(filter).toString()}`);
  }

  flights(): Promise<FlightReport[]> {
    return this.#ask('GET', 'flights');
  }

  clock(change: ClockChange = {}): Promise<ClockReading> {
    return this.#ask('PUT', 'clock', change);
  }

  knobs(patch: KnobsPatch = {}): Promise<Knobs> {
    return this.#ask('PATCH', 'knobs', patch);
  }

  accounts(): Promise<AccountConfig[]> {
    return this.#ask('GET', 'accounts');
  }

  /** Creates or replaces; usage, calls in flight and windows of the same name go on. */
  putAccount(config: AccountConfig): Promise<AccountConfig> {
    return this.#ask('PUT', `accounts/${encodeURIComponent(config.id)}`, config);
  }

  patchAccount(id: string, patch: AccountPatch): Promise<AccountConfig> {
    return this.#ask('PATCH', `accounts/${encodeURIComponent(id)}`, patch);
  }

  async removeAccount(id: string): Promise<void> {
    await this.#ask('DELETE', `accounts/${encodeURIComponent(id)}`);
  }

  /** `{used: 0, openedMs: now}` is a reset card; `openedMs: null` makes the window idle. */
  setWindow(
    account: string,
    window: string,
    state: { used?: number; openedMs?: number | null },
  ): Promise<WindowReport> {
    return this.#ask('PUT', `accounts/${encodeURIComponent(account)}/windows/${encodeURIComponent(window)}`, state);
  }

  async addFault(rule: FaultRule): Promise<string> {
    const { id } = await this.#ask<{ id: string }>('POST', 'faults', rule);
    return id;
  }

  faults(): Promise<FaultReport[]> {
    return this.#ask('GET', 'faults');
  }

  /** All of them when no id is given. */
  async removeFaults(id?: string): Promise<void> {
    await this.#ask('DELETE', id === undefined ? 'faults' : `faults/${encodeURIComponent(id)}`);
  }

  /** Calls waiting at each gate (`[[sim hold=name]]`). */
  holds(): Promise<Record<string, number>> {
    return this.#ask('GET', 'holds');
  }

  async release(hold?: string): Promise<void> {
    await this.#ask('DELETE', hold === undefined ? 'holds' : `holds/${encodeURIComponent(hold)}`);
  }

  /** Cuts every connection to the vendor. */
  async dropConnections(): Promise<void> {
    await this.#ask('DELETE', 'connections');
  }

  /** Asks for reports until one satisfies `isDone`; throws with the last one when `withinMs` has passed. */
  async until(isDone: (report: Report) => boolean, withinMs = 10_000): Promise<Report> {
    const deadline = performance.now() + withinMs;
    for (;;) {
      const report = await this.report();
      if (isDone(report)) return report;
      if (performance.now() > deadline) throw new Error(`the simulator never got there: ${JSON.stringify(report)}`);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }

  async #ask<T>(method: string, path: string, body?: object): Promise<T> {
    const response = await fetch(this.#base + path, { method, ...(body ? { body: JSON.stringify(body) } : {}) });
    const answer = (await response.json()) as T & { error?: string };
    if (!response.ok) throw new Error(`${method} ${path}: ${answer.error}`);
    return answer;
  }
}
