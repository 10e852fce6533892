/** Reference model: pauses, stretched rates, breaker and freeze of one node. Pure. */
import { ENGINE_CONSTANTS } from './constants.ts';
import type { Now } from './model-meters.ts';
import type { Outcome } from './terms.ts';
import type { BreakerConfig, NodeConfig } from './tree-terms.ts';

const MINUTE_MS = 60_000;
const MAX_STRETCH = 4000;

export interface Pace {
  /** Permille of the rate's interval. */
  stretch: number;
  stretchedMs: number;
  pausedUntilMs: number;
  overloads: number;
}

export const newPace = (): Pace => ({ stretch: 1000, stretchedMs: 0, pausedUntilMs: 0, overloads: 0 });

/** A stretch relaxes by a tenth a minute. */
function stretchAt({ stretch, stretchedMs }: Pace, logicalMs: number): number {
  let relaxed = stretch;
  for (let at = stretchedMs; relaxed > 1000 && logicalMs - at >= MINUTE_MS; at += MINUTE_MS)
    relaxed = Math.max(1000, Math.floor((relaxed * 9) / 10));
  return relaxed;
}

/** Microseconds between two calls as things are now. */
export function intervalOf({ rate }: Pick<NodeConfig, 'rate'>, pace: Pace, { logicalMs }: Now): number {
  return Math.floor(((rate?.intervalUs ?? 0) * stretchAt(pace, logicalMs)) / 1000);
}

export function learnPace(pace: Pace, outcome: Outcome | null, fence: number, { logicalMs }: Now): void {
  if (outcome === 'refusedRate') {
    pace.stretch = Math.min(MAX_STRETCH, Math.floor((stretchAt(pace, logicalMs) * 5) / 4));
    pace.stretchedMs = logicalMs;
    pace.pausedUntilMs = Math.max(pace.pausedUntilMs, logicalMs + pace.stretch);
  } else if (outcome === 'refusedOverload' || outcome === 'failedBeforeFirstByte') {
    pace.overloads = Math.min(pace.overloads + 1, 6);
    const base = 500 * 2 ** pace.overloads;
    const spread = base / 2 + 1;
    const jitter = ((fence % spread) * 7919) % spread;
    pace.pausedUntilMs = Math.max(pace.pausedUntilMs, logicalMs + base / 2 + jitter);
  } else if (outcome === 'completed') {
    pace.overloads = 0;
  }
}

export interface Breaker {
  readonly calls: number;
  readonly failed: number;
  readonly fromMs: number;
  /** 0: closed. */
  readonly openUntilMs: number;
  /** Id of the lease whose end decides. */
  probe: string | null;
}

/** Whether an outcome counts for or against the vendor's health; null: neither. */
function healthOf(outcome: Outcome | null): 'good' | 'bad' | null {
  if (outcome === 'completed' || outcome === 'brokeMidStream') return 'good';
  return outcome === 'refusedOverload' || outcome === 'failedBeforeFirstByte' ? 'bad' : null;
}

/** The breaker after a lease ended; null stays null until something counts. */
export function learnFailure(
  before: Breaker | null,
  config: BreakerConfig,
  { id, outcome }: { readonly id: string; readonly outcome: Outcome | null },
  { logicalMs }: Now,
): Breaker | null {
  const health = healthOf(outcome);
  if (!before && health === null) return null;
  const closed: Breaker = { calls: 0, failed: 0, fromMs: logicalMs, openUntilMs: 0, probe: null };
  const breaker = before ?? closed;
  const openUntilMs = logicalMs + config.openForMs;
  if (breaker.probe === id) {
    if (health === 'good') return closed;
    return { ...breaker, probe: null, openUntilMs: health === 'bad' ? openUntilMs : breaker.openUntilMs };
  }
  return breaker.openUntilMs > 0 || health === null ? breaker : counted(breaker, config, health, logicalMs);
}

function counted(before: Breaker, config: BreakerConfig, health: 'good' | 'bad', logicalMs: number): Breaker {
  const isOld = logicalMs - before.fromMs >= MINUTE_MS;
  const since = isOld ? { ...before, calls: 0, failed: 0, fromMs: logicalMs } : before;
  const calls = since.calls + 1;
  const failed = since.failed + (health === 'bad' ? 1 : 0);
  const opens = calls >= config.minimumCalls && failed * 100 >= config.failureRatePercent * calls;
  const openUntilMs = logicalMs + config.openForMs;
  return opens ? { ...since, openUntilMs, calls: 0, failed: 0 } : { ...since, calls, failed };
}

/** Until when the account is closed after the vendor said that a window is used up (wall); null: that is over already. */
export function frozenUntil(toldMs: number | null, { wallMs }: Now): number | null {
  const untilMs = toldMs ?? wallMs + MINUTE_MS;
  return untilMs <= wallMs ? null : untilMs + ENGINE_CONSTANTS.GUARD_MS;
}

/** How long slots stay taken after a call, because the vendor counts longer than we do (rule T6). */
export class ReleaseHold {
  ms = 0;
  #changedMs: number | null = null;

  /** Goes on as a hold was left. */
  resume(ms: number, changedMs: number | null): void {
    this.ms = ms;
    this.#changedMs = changedMs;
  }

  decay({ logicalMs }: Now): void {
    if (this.ms === 0 || logicalMs - (this.#changedMs ?? 0) < 600_000) return;
    this.ms = this.ms <= 50 ? 0 : Math.floor(this.ms / 2);
    this.#changedMs = logicalMs;
  }

  /** False: it was changed a moment ago, so the hold is not the reason. */
  grow({ logicalMs }: Now): boolean {
    if (this.#changedMs !== null && logicalMs - this.#changedMs <= 30_000) return false;
    this.#double(logicalMs);
    return true;
  }

  /** A limit that can be no lower: then it is the hold again, if the call was granted after the last change. */
  growAgain(grantedMs: number, { logicalMs }: Now): void {
    if (grantedMs >= (this.#changedMs ?? 0)) this.#double(logicalMs);
  }

  #double(logicalMs: number): void {
    this.ms = this.ms === 0 ? 50 : Math.min(800, this.ms * 2);
    this.#changedMs = logicalMs;
  }
}
