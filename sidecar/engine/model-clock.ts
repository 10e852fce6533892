/** Reference model: the two clocks, the server's identity and the epoch (rules T1, T3, W2). Pure. */
import { ENGINE_CONSTANTS } from './constants.ts';
import type { PlannedMove } from './port.ts';

const { BEAT_MS, SILENT_MS, STEP_MS, TTL_MS } = ENGINE_CONSTANTS;

/** What the clocks read last, and what expires nobody because of a gap. */
export interface Clocks {
  readonly wallUs: number;
  readonly logicalUs: number;
  readonly gapFromMs: number;
  readonly noReapUntilMs: number;
}

export class ModelClock {
  now = { wallMs: 0, logicalMs: 0 };
  epoch = 0;
  fence = 0;
  steps = 0;
  /** Nothing is granted until then while owners are still to register (rule T7); `learnToEnd`: in any case. */
  learnUntilMs = 0;
  learnToEnd = false;
  /** Until then in any case. */
  learnLeastMs = 0;
  #rawUs = 0;
  #identity = 'one';
  #state: { rawUs: number; logicalUs: number; identity: string } | null = null;
  #gapFromMs = 0;
  #noReapUntilMs = 0;
  #massFromMs = 0;
  #planned: PlannedMove | null = null;

  setUs(us: number): void {
    this.#rawUs = us;
  }

  restartAs(identity: string): void {
    this.#identity = identity;
  }

  wipe(): void {
    this.#state = null;
    this.#identity = 'one';
    this.#planned = null;
  }

  /** From now on the tree may move between these servers (rule W2). */
  plan(move: PlannedMove): void {
    this.#planned = move;
  }

  /** Goes on with clocks as they were left. */
  resume({ wallUs: rawUs, logicalUs, gapFromMs, noReapUntilMs }: Clocks): void {
    this.#state = { rawUs, logicalUs, identity: this.#state?.identity ?? this.#identity };
    this.#gapFromMs = gapFromMs;
    this.#noReapUntilMs = noReapUntilMs;
  }

  /** The same after a mass of owners fell silent at `massFromMs`, on a server of that identity. */
  resumeAs(identity: string, massFromMs: number, clocks: Clocks): void {
    this.#identity = identity;
    this.#state = null;
    this.resume(clocks);
    this.#massFromMs = massFromMs;
  }

  get wallUs(): number {
    return this.#rawUs;
  }

  get wallMs(): number {
    return Math.floor(this.#rawUs / 1000);
  }

  get logicalUs(): number {
    const { rawUs, logicalUs } = this.#state ?? { rawUs: this.#rawUs, logicalUs: this.#rawUs };
    return logicalUs + Math.max(0, this.#rawUs - rawUs);
  }

  /** Reads the clocks without leaving a trace. */
  look(): void {
    this.now = { wallMs: this.wallMs, logicalMs: Math.floor(this.logicalUs / 1000) };
  }

  /** A call that may write reads the clocks. */
  open(): void {
    const lastMs = this.#state ? Math.floor(this.#state.logicalUs / 1000) : null;
    const logicalUs = this.logicalUs;
    this.look();
    if (!this.#state) this.#begin();
    else if (this.#state.rawUs - this.#rawUs > STEP_MS * 1000) this.steps += 1;
    if (lastMs !== null && this.now.logicalMs - lastMs > SILENT_MS) {
      this.#gapFromMs = lastMs;
      this.#noReapUntilMs = this.now.logicalMs + SILENT_MS;
    }
    if (this.#state && this.#state.identity !== this.#identity && !this.#isPlanned(this.#state.identity)) {
      this.epoch = Math.max(this.epoch + 1, this.now.wallMs);
      this.learn(false);
    }
    this.#state = { rawUs: this.#rawUs, logicalUs, identity: this.#identity };
  }

  #isPlanned(from: string): boolean {
    const { identities = [], untilMs = 0 } = this.#planned ?? {};
    return identities.includes(from) && identities.includes(this.#identity) && this.now.wallMs < untilMs;
  }

  #begin(): void {
    this.epoch = this.now.wallMs;
    this.fence = this.#rawUs;
    this.steps = this.#gapFromMs = this.#noReapUntilMs = this.#massFromMs = this.learnUntilMs = this.learnLeastMs = 0;
    this.learnToEnd = false;
  }

  learn(toEnd: boolean): void {
    this.learnUntilMs = this.now.logicalMs + TTL_MS + BEAT_MS;
    this.learnLeastMs = this.now.logicalMs + SILENT_MS;
    this.learnToEnd = toEnd;
  }

  /** The server stood still a moment ago: who is silent may just not have been heard. */
  get afterGap(): boolean {
    return this.now.logicalMs < this.#noReapUntilMs;
  }

  /** Until when nobody is known to be silent. */
  get noReapUntilMs(): number {
    return this.#noReapUntilMs;
  }

  /** Leases that expired up to this moment may be reaped. */
  get reapUntilMs(): number {
    const { logicalMs } = this.now;
    return this.afterGap ? Math.min(logicalMs, this.#gapFromMs) : logicalMs;
  }

  /** Whether so many owners fell silent together that nobody is reaped yet; `lastHeardMs` has one entry an owner. */
  manySilent(lastHeardMs: readonly number[]): boolean {
    const { logicalMs } = this.now;
    if (logicalMs < this.#massFromMs + TTL_MS) return true;
    if (logicalMs < this.#massFromMs + 2 * TTL_MS) return false;
    const silent = lastHeardMs.filter((heardMs) => heardMs < logicalMs - SILENT_MS).length;
    if (silent < 2 || silent * 2 <= lastHeardMs.length) return false;
    this.#massFromMs = logicalMs;
    return true;
  }

  /** The epoch to answer a caller who knows another one, else null. */
  otherEpoch(known: number | null): number | null {
    if (known === null || known === this.epoch) return null;
    if (known > this.epoch) {
      this.epoch = known + 1;
      this.learn(false);
    }
    return this.epoch;
  }
}
