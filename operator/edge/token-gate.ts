/** TokenReviews, as few as possible: remembered, shared by simultaneous callers, and paced. */
import { createHash } from 'node:crypto';
import type { Clock } from '../../sidecar/base/clock.ts';
import { AppError } from '../../sidecar/base/errors.ts';
import type { TokenClaims } from './claims.ts';
import { Pace } from './pace.ts';
import type { ReviewedPod, TokenReviewer } from './terms.ts';

const REMEMBERED_MS = 60_000;
const MAX_REMEMBERED = 20_000;

interface Remembered {
  readonly pod: ReviewedPod | null;
  /** Monotonic. */
  readonly untilMs: number;
}

export class TokenGate {
  readonly #clock: Clock;
  readonly #reviewer: TokenReviewer;
  readonly #remembered = new Map<string, Remembered>();
  readonly #asking = new Map<string, Promise<ReviewedPod | null>>();
  readonly #pace: Pace;
  readonly #pods = new Map<string, Pace>();

  constructor(clock: Clock, reviewer: TokenReviewer) {
    this.#clock = clock;
    this.#reviewer = reviewer;
    this.#pace = new Pace(clock, { perSecond: 20, burst: 20, maxWaitMs: 10_000, what: 'token reviews' });
  }

  /**
   * Whose token it is. Fails with `unauthenticated` when the API server does not know it, `exhausted` when too many
   * ask, `unavailable` when the API server is away. The answer may be a minute old.
   */
  async admit(token: string, claims: TokenClaims, signal: AbortSignal): Promise<ReviewedPod> {
    const key = createHash('sha256').update(token).digest('base64url');
    const remembered = this.#remembered.get(key);
    const fresh = remembered !== undefined && remembered.untilMs > this.#clock.monotonicMs();
    const pod = fresh ? remembered.pod : await this.#ask(key, { token, claims }, signal);
    if (pod === null) throw new AppError('unauthenticated', 'the API server does not accept the token');
    return pod;
  }

  async #ask(
    key: string,
    question: { readonly token: string; readonly claims: TokenClaims },
    signal: AbortSignal,
  ): Promise<ReviewedPod | null> {
    const asking = this.#asking.get(key);
    if (asking) return asking;
    const asked = this.#review(key, question, signal).finally(() => this.#asking.delete(key));
    this.#asking.set(key, asked);
    return asked;
  }

  async #review(
    key: string,
    { token, claims }: { readonly token: string; readonly claims: TokenClaims },
    signal: AbortSignal,
  ): Promise<ReviewedPod | null> {
    // Code in a pod can make up tokens that name its pod: it may spend that pod's reviews, nobody else's.
    await this.#paceOf(claims.pod.uid).take(signal);
    await this.#pace.take(signal);
    const pod = await this.#reviewer.review(token, signal);
    const lastsMs = Math.min(REMEMBERED_MS, claims.expiresAtMs - this.#clock.nowMs());
    this.#remembered.set(key, { pod, untilMs: this.#clock.monotonicMs() + lastsMs });
    trim(this.#remembered);
    return pod;
  }

  #paceOf(uid: string): Pace {
    const pace =
      this.#pods.get(uid) ?? new Pace(this.#clock, { perSecond: 1, burst: 3, maxWaitMs: 0, what: 'tokens of one pod' });
    this.#pods.delete(uid);
    this.#pods.set(uid, pace);
    trim(this.#pods);
    return pace;
  }
}

/** Forgets the oldest entries of a map beyond its bound. */
function trim(map: Map<string, unknown>): void {
  for (const oldest of map.keys()) {
    if (map.size <= MAX_REMEMBERED) return;
    map.delete(oldest);
  }
}
