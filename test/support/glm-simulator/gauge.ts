/** Calls in flight of one account and model: what the vendor enforces, and what an observer sees. */

export interface GaugeReport {
  limit: number | null;
  inFlight: number;
  maxInFlight: number;
  /** Slots of ended calls the vendor still counts. */
  lagging: number;
  /** Calls that arrived while the limit was already in use by others, refused or not. */
  overAdmitted: number;
  /** Largest number of calls beyond the limit that were ever there together. */
  maxExcess: number;
  /** Calls answered 1302 only because of the release lag. */
  refusedByLag: number;
}

/** A call as the gauge knows it. Times are monotonic milliseconds. */
export interface Flight {
  startMs: number;
  endMs: number;
  isAccepted: boolean;
}

const ENDED_KEPT = 4096;

export class Gauge {
  limit: number;
  readonly flights = new Set<Flight>();
  #accepted = 0;
  #lagging = 0;
  #maxInFlight = 0;
  #overAdmitted = 0;
  #maxExcess = 0;
  #refusedByLag = 0;
  #ended: Flight[] = [];
  #nextEnded = 0;

  constructor(limit: number) {
    this.limit = limit;
  }

  /**
   * Counts a call from `startMs`, when its headers had come, though its model is known only now, `nowMs`.
   * The observer counts refused calls too: they were on the wire.
   */
  arrive(startMs: number, nowMs: number): Flight {
    const { accepted, present } = this.#peak(startMs, nowMs);
    if (accepted + 1 > this.limit) this.#overAdmitted += 1;
    this.#maxInFlight = Math.max(this.#maxInFlight, present + 1);
    this.#maxExcess = Math.max(this.#maxExcess, present + 1 - this.limit);
    const flight = { startMs, endMs: Infinity, isAccepted: false };
    this.flights.add(flight);
    return flight;
  }

  /** Takes a slot if the vendor has one; it lets `slack` more pass than it says. */
  tryAccept(flight: Flight, slack: number): boolean {
    if (this.#accepted + this.#lagging >= this.limit + slack) {
      if (this.#accepted < this.limit + slack) this.#refusedByLag += 1;
      return false;
    }
    this.#accepted += 1;
    flight.isAccepted = true;
    return true;
  }

  leave(flight: Flight, nowMs: number, lagMs: number): void {
    flight.endMs = nowMs;
    this.flights.delete(flight);
    this.#ended[this.#nextEnded] = flight;
    this.#nextEnded = (this.#nextEnded + 1) % ENDED_KEPT;
    if (!flight.isAccepted) return;
    this.#accepted -= 1;
    if (lagMs <= 0) return;
    this.#lagging += 1;
    setTimeout(() => (this.#lagging -= 1), lagMs).unref();
  }

  report(): GaugeReport {
    return {
      limit: Number.isFinite(this.limit) ? this.limit : null,
      inFlight: this.flights.size,
      maxInFlight: this.#maxInFlight,
      lagging: this.#lagging,
      overAdmitted: this.#overAdmitted,
      maxExcess: Math.max(0, this.#maxExcess),
      refusedByLag: this.#refusedByLag,
    };
  }

  forget(): void {
    this.#maxInFlight = this.flights.size;
    this.#overAdmitted = 0;
    this.#maxExcess = 0;
    this.#refusedByLag = 0;
  }

  /** Most calls together at one instant of [fromMs, toMs], by a sweep over those that touch it. */
  #peak(fromMs: number, toMs: number): { accepted: number; present: number } {
    const now = { accepted: this.#accepted, present: this.flights.size };
    const lately = this.#endedSince(fromMs);
    if (lately.length === 0) return now;
    const touching = [...this.flights, ...lately];
    const best = { accepted: 0, present: 0 };
    for (const at of [fromMs, toMs, ...touching.map(({ startMs }) => startMs)]) {
      if (at < fromMs) continue;
      const here = touching.filter(({ startMs, endMs }) => startMs <= at && endMs > at);
      best.present = Math.max(best.present, here.length);
      best.accepted = Math.max(best.accepted, here.filter(({ isAccepted }) => isAccepted).length);
    }
    return best;
  }

  #endedSince(fromMs: number): Flight[] {
    const found: Flight[] = [];
    for (let back = 1; back <= ENDED_KEPT; back += 1) {
      const flight = this.#ended[(this.#nextEnded - back + ENDED_KEPT) % ENDED_KEPT];
      if (!flight || flight.endMs <= fromMs) break;
      found.push(flight);
    }
    return found;
  }
}
