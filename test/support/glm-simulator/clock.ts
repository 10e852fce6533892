/** The vendor's clock: windows, stamps and peak hours follow it; service times always pass in real time. */

/** `nowMs` sets the time, `advanceMs` moves it; `Manual` stops it, `System` lets it run on from where it stands. */
export interface ClockChange {
  mode?: 'System' | 'Manual';
  nowMs?: number;
  advanceMs?: number;
}

export interface ClockReading {
  mode: 'System' | 'Manual';
  nowMs: number;
}

export class SimulatorClock {
  #stoppedAtMs: number | undefined;
  #offsetMs = 0;

  /** Milliseconds since the Unix epoch, as the vendor sees it. */
  nowMs(): number {
    return this.#stoppedAtMs ?? Date.now() + this.#offsetMs;
  }

  read(): ClockReading {
    return { mode: this.#stoppedAtMs === undefined ? 'System' : 'Manual', nowMs: this.nowMs() };
  }

  change({ mode, nowMs, advanceMs = 0 }: ClockChange): void {
    const next = (nowMs ?? this.nowMs()) + advanceMs;
    const isStopped = mode === undefined ? this.#stoppedAtMs !== undefined : mode === 'Manual';
    this.#stoppedAtMs = isStopped ? next : undefined;
    this.#offsetMs = next - Date.now();
  }
}
