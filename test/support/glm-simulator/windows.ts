/** Usage windows anchored on first use, in integer nano-units. */
import { NANO } from './money.ts';
import type { WindowConfig } from './terms.ts';

/** One span of a window that is over. */
export interface PastSpan {
  openedMs: number;
  endedMs: number;
  used: number;
  excess: number;
  refused: number;
}

export interface WindowReport {
  name: string;
  resource: string;
  amount: number;
  used: number;
  openedMs: number | null;
  resetsMs: number | null;
  /** Units beyond the amount in the running span. */
  excess: number;
  /** Largest excess of any span since the last reset of the report. */
  maxExcess: number;
  /** Calls that came while it was used up. */
  refused: number;
  past: PastSpan[];
}

const PAST_KEPT = 200;
const SAMPLES_KEPT = 10_000;

export class UsageWindow {
  readonly config: WindowConfig;
  /** Number of the running span; a refund or late charge names the one it belongs to. */
  span = 0;
  openedMs: number | undefined;
  #amountNano: number;
  #usedNano = 0;
  #refused = 0;
  #refusedEver = 0;
  #maxExcessNano = 0;
  #past: PastSpan[] = [];
  #samples: { atMs: number; span: number; usedNano: number }[] = [];

  constructor(config: WindowConfig) {
    this.config = config;
    this.#amountNano = Math.round(config.amount * NANO);
  }

  /** Takes over what another window of this name has counted: a change of plan keeps the usage. */
  continueFrom(other: UsageWindow): void {
    this.span = other.span;
    this.openedMs = other.openedMs;
    this.#usedNano = other.#usedNano;
    this.#past = other.#past;
    this.#samples = other.#samples;
    this.#refusedEver = other.#refusedEver;
  }

  get resetsMs(): number | undefined {
    return this.openedMs === undefined ? undefined : this.openedMs + this.config.durationMs;
  }

  isUsedUp(nowMs: number): boolean {
    this.#roll(nowMs);
    return this.#usedNano >= this.#amountNano + Math.round((this.config.tolerance ?? 0) * NANO);
  }

  open(nowMs: number): void {
    this.#roll(nowMs);
    if (this.openedMs !== undefined) return;
    this.openedMs = nowMs;
    this.span += 1;
  }

  /** Opens the window if need be. */
  charge(nowMs: number, nano: number): void {
    this.open(nowMs);
    this.#add(nano, nowMs);
  }

  /** Charges the span a call arrived in, even when it is over. */
  chargeSpan(span: number, nowMs: number, nano: number): void {
    this.#roll(nowMs);
    if (span === this.span && this.openedMs !== undefined) this.#add(nano, nowMs);
    else this.#chargePast(span, nano);
  }

  countRefusal(): void {
    this.#refused += 1;
    this.#refusedEver += 1;
  }

  /**
   * Any state a test wants. `openedMs` ends the running span and starts one there, `null` leaves the window idle;
   * a reset card is `{used: 0, openedMs: now}`. Without `used` the usage goes over to the new span.
   */
  set(nowMs: number, { used, openedMs }: { used?: number; openedMs?: number | null }): void {
    this.#roll(nowMs);
    const nano = used === undefined ? this.#usedNano : Math.round(used * NANO);
    if (openedMs !== undefined) this.#close(nowMs);
    if (openedMs !== null) this.open(openedMs ?? nowMs);
    this.#usedNano = 0;
    if (nano !== 0) this.#add(nano, nowMs);
  }

  /** Used units as they were shown `lagMs` ago. */
  usedAgo(nowMs: number, lagMs: number): number {
    this.#roll(nowMs);
    if (lagMs <= 0) return this.#usedNano / NANO;
    if (this.openedMs === undefined) return 0;
    const known = this.#samples.findLast(({ atMs }) => atMs <= nowMs - lagMs);
    return known && known.span === this.span ? known.usedNano / NANO : 0;
  }

  report(nowMs: number): WindowReport {
    this.#roll(nowMs);
    return {
      name: this.config.name,
      resource: this.config.resource,
      amount: this.config.amount,
      used: this.#usedNano / NANO,
      openedMs: this.openedMs ?? null,
      resetsMs: this.resetsMs ?? null,
      excess: Math.max(0, this.#usedNano - this.#amountNano) / NANO,
      maxExcess: this.#maxExcessNano / NANO,
      refused: this.#refusedEver,
      past: this.#past,
    };
  }

  forget(): void {
    this.#past = [];
    this.#refusedEver = 0;
    this.#maxExcessNano = Math.max(0, this.#usedNano - this.#amountNano);
  }

  #add(nano: number, nowMs: number): void {
    this.#usedNano += nano;
    this.#maxExcessNano = Math.max(this.#maxExcessNano, this.#usedNano - this.#amountNano);
    if (this.#samples.length >= SAMPLES_KEPT) this.#samples = this.#samples.slice(SAMPLES_KEPT / 2);
    this.#samples.push({ atMs: nowMs, span: this.span, usedNano: this.#usedNano });
  }

  #chargePast(span: number, nano: number): void {
    const past = this.#past.at(span - this.span - (this.openedMs === undefined ? 1 : 0));
    if (!past) return;
    past.used += nano / NANO;
    past.excess = Math.max(0, past.used - this.config.amount);
    this.#maxExcessNano = Math.max(this.#maxExcessNano, Math.round(past.excess * NANO));
  }

  #roll(nowMs: number): void {
    const resetsMs = this.resetsMs;
    if (resetsMs !== undefined && nowMs >= resetsMs) this.#close(resetsMs);
  }

  #close(endedMs: number): void {
    if (this.openedMs === undefined) return;
    this.#past.push({
      openedMs: this.openedMs,
      endedMs,
      used: this.#usedNano / NANO,
      excess: Math.max(0, this.#usedNano - this.#amountNano) / NANO,
      refused: this.#refused,
    });
    if (this.#past.length > PAST_KEPT) this.#past.shift();
    this.openedMs = undefined;
    this.#usedNano = 0;
    this.#refused = 0;
  }
}
