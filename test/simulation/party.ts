/** One process on its machine: its clocks, and whether it runs. */
import type { Clock } from '#sidecar/base/clock.ts';
import type { Appointment, Schedule } from './schedule.ts';

export interface Machine {
  /** What its wall clock is ahead of the true time. */
  readonly skewMs: number;
  /** How fast its clocks run: 1 is true. */
  readonly pace: number;
}

/** How much faster or slower than true a machine's clocks may run. */
export const DRIFT = 0.004;
/** 2026-11-21T00:00:00Z. */
export const START_MS = 1_795_219_200_000;

interface Sleeper {
  readonly untilMs: number;
  readonly wake: () => void;
  appointment: Appointment;
}

export class Party {
  readonly name: string;
  readonly clock: Clock;
  readonly #schedule: Schedule;
  readonly #machine: Machine;
  readonly #sleepers = new Set<Sleeper>();
  /** Null: it runs. */
  #backlog: (() => void)[] | null = null;
  #isDead = false;
  #steppedMs = 0;
  /** True time that its monotonic clock does not know of. */
  #sleptMs = 0;
  #asleepSinceMs: number | null = null;
  #stoppedSinceMs: number | null = null;
  /** How long it did nothing although its clocks ran. */
  stoppedMs = 0;

  constructor(name: string, schedule: Schedule, machine: Machine) {
    this.name = name;
    this.#schedule = schedule;
    this.#machine = machine;
    this.clock = {
      nowMs: () => Math.floor(this.wallMs),
      monotonicMs: () => this.#monotonicMs,
      sleep: (ms, signal) => this.#sleep(ms, signal),
    };
  }

  get isDead(): boolean {
    return this.#isDead;
  }

  get isPaused(): boolean {
    return this.#backlog !== null;
  }

  /** Timers that wait for their time. */
  get sleeping(): number {
    return this.#sleepers.size;
  }

  get wallMs(): number {
    const { skewMs, pace } = this.#machine;
    return START_MS + skewMs + this.#schedule.nowMs * pace + this.#steppedMs;
  }

  /** Somebody sets its wall clock. */
  step(byMs: number): void {
    this.#steppedMs += byMs;
  }

  /** A message or timer for it: now, or when it goes on; never if it is dead. */
  deliver(job: () => void): void {
    if (this.#isDead) return;
    if (this.#backlog !== null) this.#backlog.push(job);
    else job();
  }

  /** `asleep`: with its machine, whose monotonic clock stands still meanwhile. */
  pause(how: 'stopped' | 'asleep'): void {
    this.#backlog ??= [];
    if (how === 'asleep') this.#asleepSinceMs ??= this.#schedule.nowMs;
    else this.#stoppedSinceMs ??= this.#schedule.nowMs;
  }

  resume(): void {
    const { nowMs } = this.#schedule;
    const backlog = this.#backlog ?? [];
    if (this.#asleepSinceMs !== null) this.#sleptMs += nowMs - this.#asleepSinceMs;
    if (this.#stoppedSinceMs !== null) this.stoppedMs += nowMs - this.#stoppedSinceMs;
    this.#asleepSinceMs = this.#stoppedSinceMs = null;
    this.#backlog = null;
    // One after the other, each with all its consequences.
    for (const job of backlog) this.#schedule.at(nowMs, () => this.deliver(job));
  }

  kill(): void {
    this.#isDead = true;
    this.#backlog = null;
    for (const { appointment } of this.#sleepers) appointment.cancel();
    this.#sleepers.clear();
  }

  get #monotonicMs(): number {
    const { nowMs } = this.#schedule;
    const asleepMs = this.#asleepSinceMs === null ? 0 : nowMs - this.#asleepSinceMs;
    return 1000 + (nowMs - this.#sleptMs - asleepMs) * this.#machine.pace;
  }

  async #sleep(ms: number, signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const untilMs = this.#monotonicMs + Math.max(0, ms);
    const sleeper: Sleeper = { untilMs, wake: resolve, appointment: this.#appoint(() => this.#ring(sleeper), ms) };
    this.#sleepers.add(sleeper);
    const onAbort = (): void => reject(signal?.reason as Error);
    signal?.addEventListener('abort', onAbort, { once: true });
    try {
      await promise;
    } finally {
      this.#sleepers.delete(sleeper);
      sleeper.appointment.cancel();
      signal?.removeEventListener('abort', onAbort);
    }
  }

  #appoint(job: () => void, ms: number): Appointment {
    return this.#schedule.after(ms / this.#machine.pace, () => this.deliver(job));
  }

  #ring(sleeper: Sleeper): void {
    if (!this.#sleepers.has(sleeper)) return;
    const leftMs = sleeper.untilMs - this.#monotonicMs;
    if (leftMs > 1e-6) sleeper.appointment = this.#appoint(() => this.#ring(sleeper), leftMs);
    else sleeper.wake();
  }
}
