/**
 * A vendor whose limit nobody is told, and a crowd that always has calls waiting: on the engine's Lua in a real Redis, with
 * the injected clock, so that hours pass in seconds. Sidecar and vendor are acted out here, event by event.
 */
import type { AcquireRequest, Grant, Verdict } from '#sidecar/engine/terms.ts';
import { node, request, settlement, START_MS, type TestEngine } from '#test/support/engine.ts';

export interface HiddenLimit {
  readonly name: string;
  /** Calls of the model that the vendor serves at once, `atMs` after the start. */
  at(atMs: number): number;
}

export interface LearningRun {
  readonly accepted: number;
  readonly refused: number;
  /** Slot time in use, of all that the vendor would have given. */
  readonly utilisation: number;
}

const WAITERS = 12;
const BEAT_MS = 5000;
/** A refusal comes back after this. */
const REFUSAL_MS = 200;
/** As the sidecar's default: a call that need not wait for another slot tries again after a second, at most four times. */
const RETRY_MS = 1000;
const MAX_ATTEMPTS = 4;
const MEDIAN_MS = 12_000;
const SIGMA = 0.8;
const OWNER = 'pod/1';
const MOST = 10;

interface Event {
  readonly atMs: number;
  run(): Promise<void>;
}

interface Call {
  readonly ask: AcquireRequest;
  attempts: number;
  grant: Grant | null;
}

/** Evenly spread between 0 and 1, the same for the same seed (mulberry32). */
function randomFrom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

export async function learn(
  opened: TestEngine,
  hidden: HiddenLimit,
  { seed, lastsMs }: { readonly seed: number; readonly lastsMs: number },
): Promise<LearningRun> {
  const engine = opened.fresh();
  await engine.setUs(START_MS * 1000);
  await engine.wipe();
  const adaptive = { min: 1, start: 1 };
  await engine.configure([
    node('account', null),
    node('model:glm-5.3', 'account', { concurrency: MOST, adaptive }),
    node('model:other', 'account'),
  ]);
  return new Learning(engine, hidden, { random: randomFrom(seed), lastsMs }).run();
}

class Learning {
  readonly #engine: TestEngine;
  readonly #hidden: HiddenLimit;
  readonly #random: () => number;
  readonly #lastsMs: number;
  #events: Event[] = [];
  #nowMs = 0;
  readonly #waiting = new Map<string, Call>();
  readonly #held = new Map<string, Call>();
  #atVendor = 0;
  #names = 0;
  #tickMs: number | null = null;
  #accepted = 0;
  #refused = 0;
  #busyMs = 0;
  #givenMs = 0;

  constructor(
    engine: TestEngine,
    hidden: HiddenLimit,
    of: { readonly random: () => number; readonly lastsMs: number },
  ) {
    this.#engine = engine;
    this.#hidden = hidden;
    this.#random = of.random;
    this.#lastsMs = of.lastsMs;
  }

  async run(): Promise<LearningRun> {
    await this.#fill();
    this.#after(BEAT_MS, () => this.#beatForever());
    for (let next = this.#next(); next !== null; next = this.#next()) {
      this.#pass(next.atMs);
      void this.#engine.setUs(Math.round((START_MS + this.#nowMs) * 1000));
      await next.run();
    }
    return { accepted: this.#accepted, refused: this.#refused, utilisation: this.#busyMs / this.#givenMs };
  }

  #next(): Event | null {
    const next = this.#events.reduce<Event | null>(
      (least, each) => (!least || each.atMs < least.atMs ? each : least),
      null,
    );
    if (next === null || next.atMs > this.#lastsMs) return null;
    this.#events = this.#events.filter((each) => each !== next);
    return next;
  }

  #after(ms: number, run: () => Promise<void>): void {
    this.#events.push({ atMs: this.#nowMs + ms, run });
  }

  #pass(atMs: number): void {
    const limit = this.#hidden.at(this.#nowMs);
    this.#busyMs += Math.min(this.#atVendor, limit) * (atMs - this.#nowMs);
    this.#givenMs += limit * (atMs - this.#nowMs);
    this.#nowMs = atMs;
  }

  /** As many wait as always. */
  async #fill(): Promise<void> {
    while (this.#waiting.size < WAITERS) {
      const wait = { mode: 'UntilSlot', maxWaitMs: 86_400_000 } as const;
      const ask = request(`call-${++this.#names}`, { owner: OWNER, wait });
      this.#heard({ ask, attempts: 0, grant: null }, await this.#engine.sidecar.acquire(ask));
    }
  }

  /** `parked`: it had to wait; else a call that was refused before lets a second pass. */
  #heard(call: Call, verdict: Verdict): void {
    if (verdict.kind === 'queued') {
      this.#waiting.set(call.ask.id, call);
      this.#tickBy(verdict);
    } else if (verdict.kind === 'granted') {
      this.#granted(call, verdict, call.attempts > 0 ? RETRY_MS * (1 - this.#random() / 2) : 0);
    } else {
      throw new Error(`a call was answered ${JSON.stringify(verdict)}`);
    }
  }

  #granted(call: Call, grant: Grant, delayMs: number): void {
    call.grant = grant;
    this.#waiting.delete(call.ask.id);
    this.#held.set(call.ask.id, call);
    const sentAfterMs = Math.round(delayMs);
    if (sentAfterMs === 0) this.#send(call, 0);
    else this.#after(sentAfterMs, async () => this.#send(call, sentAfterMs));
  }

  #send(call: Call, sentAfterMs: number): void {
    call.attempts += 1;
    if (this.#atVendor >= this.#hidden.at(this.#nowMs)) {
      this.#refused += 1;
      this.#after(REFUSAL_MS, () => this.#again(call, sentAfterMs));
      return;
    }
    this.#accepted += 1;
    this.#atVendor += 1;
    const normal = Math.sqrt(-2 * Math.log(1 - this.#random())) * Math.cos(2 * Math.PI * this.#random());
    const serviceMs = Math.round(MEDIAN_MS * Math.exp(SIGMA * normal));
    this.#after(serviceMs, async () => {
      this.#atVendor -= 1;
      this.#held.delete(call.ask.id);
      const firstByteAfterMs = sentAfterMs + 500;
      const { id, fence } = call.grant!;
      const ending = settlement(id, fence, { sentAfterMs, firstByteAfterMs });
      void this.#engine.sidecar.settle([ending]);
      await this.#beat();
    });
  }

  /** Refused: back to the head of its flow, or the end of its tries. */
  async #again(call: Call, sentAfterMs: number): Promise<void> {
    const { id, fence } = call.grant!;
    this.#held.delete(id);
    const refusal = settlement(id, fence, { outcome: 'refusedConcurrency', sentAfterMs, firstByteAfterMs: null });
    if (call.attempts >= MAX_ATTEMPTS) {
      void this.#engine.sidecar.settle([refusal]);
      return this.#beat();
    }
    const { verdict } = await this.#engine.sidecar.swap(refusal, call.ask);
    this.#heard(call, verdict);
    await this.#beat();
  }

  async #beatForever(): Promise<void> {
    this.#after(BEAT_MS, () => this.#beatForever());
    await this.#beat();
  }

  /** Keeps all alive and hears what became of those that wait; pushes would tell the same at the same moment. */
  async #beat(): Promise<void> {
    const leases = [...this.#held.values()].map(({ grant }) => grant!);
    const waiters = [...this.#waiting.keys()];
    const reply = await this.#engine.sidecar.beat({ owner: OWNER, epoch: null, leases, waiters });
    if (reply.kind !== 'alive' || reply.lost.length > 0)
      throw new Error(`a beat was answered ${JSON.stringify(reply)}`);
    for (const notice of reply.notices) {
      const call = this.#waiting.get(notice.id);
      if (notice.kind !== 'granted' || !call) throw new Error(`a waiter was told ${JSON.stringify(notice)}`);
      this.#granted(call, notice.grant, 0);
    }
    this.#tickBy(reply);
    await this.#fill();
  }

  /** Asks again when the engine wants to be asked. */
  #tickBy({ serverNowMs, nextTickMs }: { readonly serverNowMs: number; readonly nextTickMs: number | null }): void {
    if (nextTickMs === null) return;
    const atMs = this.#nowMs + Math.max(1, nextTickMs - serverNowMs + 1);
    if (this.#tickMs !== null && this.#tickMs > this.#nowMs && this.#tickMs <= atMs) return;
    this.#tickMs = atMs;
    this.#after(atMs - this.#nowMs, () => this.#beat());
  }
}
