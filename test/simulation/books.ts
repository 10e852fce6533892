/** What callers know of how their calls ended, to be compared with what Redis has charged in the end. */
import type { Schedule } from './schedule.ts';

/** What one grant must have cost when everybody was told; unknown: nothing or one. */
type Charge = 'one' | 'nothing' | 'unknown';

interface Entry {
  readonly sidecar: string;
  readonly atMs: number;
  charge: Charge;
}

/** Settlements that were on their way when their process died may or may not have arrived. */
const UNDER_WAY_MS = 30_000;

export class Books {
  readonly #schedule: Schedule;
  readonly #entries = new Map<string, Entry>();

  constructor(schedule: Schedule) {
    this.#schedule = schedule;
  }

  /** `key` names one grant, or one call that was started without Redis. */
  note(key: string, sidecar: string, charge: Charge): void {
    this.#entries.set(key, { sidecar, charge, atMs: this.#schedule.nowMs });
  }

  /** What it was about to tell may never be told. */
  died(sidecar: string): void {
    for (const entry of this.#entries.values()) {
      const isRecent = this.#schedule.nowMs - entry.atMs <= UNDER_WAY_MS;
      if (entry.sidecar === sidecar && entry.charge === 'nothing' && isRecent) entry.charge = 'unknown';
    }
  }

  /** The least and the most that may have been charged in all; some of the grants nobody ever heard of. */
  bounds(grants: Iterable<string>): { readonly least: number; readonly most: number } {
    let least = 0;
    let most = 0;
    for (const key of new Set([...grants, ...this.#entries.keys()])) {
      const charge = this.#entries.get(key)?.charge ?? 'unknown';
      if (charge === 'one') least += 1;
      if (charge !== 'nothing') most += 1;
    }
    return { least, most };
  }
}
