/** One try of a call on its way: watches the response pass, then settles the lease by what it saw. */
import type { ServerResponse } from 'node:http';
import type { Clock } from '../base/clock.ts';
import type { Log } from '../base/log.ts';
import type { CatalogError } from '../catalog/terms.ts';
import type { Outcome } from '../engine/terms.ts';
import { failureOf } from '../glm/errors.ts';
import { chargeOf } from '../glm/estimate.ts';
import { outcomeOf, type Ending } from '../glm/outcome.ts';
import type { ResponseFacts } from '../glm/response.ts';
import type { Surface, VendorFailure } from '../glm/terms.ts';
import type { SidecarMetrics } from '../leases/metrics.ts';
import type { CallFacts, HeldLease, Refused, TokenUsage } from '../leases/terms.ts';
import { headerOf } from './headers.ts';
import type { RelayEnd, RelayListener } from './relay.ts';
import { isSilence, refuseRelayEnd, reply } from './reply.ts';
import { createTap, type Tap } from './tap.ts';

export interface MeteredCallOptions {
  readonly lease: HeldLease;
  readonly surface: Surface;
  readonly reserved: TokenUsage;
  readonly errors: readonly CatalogError[];
  readonly response: ServerResponse;
  /** Monotonic. */
  readonly startedMs: number;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: SidecarMetrics;
}

/** The vendor refused, or could not be reached, and the client knows nothing of it. */
export interface Refusal {
  readonly refused: Refused;
  /** Null: what is kept back of the vendor's answer is to be passed on. */
  readonly end: Exclude<RelayEnd, { kind: 'complete' }> | null;
}

const NO_FACTS: ResponseFacts = {
  usage: null,
  usageIsFinal: false,
  model: null,
  error: null,
  broke: false,
  contentSeen: false,
  complete: false,
  frames: 0,
  dataBytes: 0,
};

/** What the transport does to a call counts as a server error. */
const BROKEN: Pick<VendorFailure, 'class' | 'resetAtMs'> = { class: 'Retry', resetAtMs: null };

export class MeteredCall implements RelayListener {
  /** Null: settled, and the client has been served or is gone. Else the lease is still held. */
  readonly ended: Promise<Refusal | null>;
  readonly #resolve: (refusal: Refusal | null) => void;
  readonly #options: MeteredCallOptions;
  readonly #sentMs: number;
  #status: number | null = null;
  #headMs: number | null = null;
  /** The vendor's name for the call. */
  #requestId: string | null = null;
  #tap: Tap | null = null;

  constructor(options: MeteredCallOptions) {
    this.#options = options;
    this.#sentMs = options.clock.monotonicMs();
    const { promise, resolve } = Promise.withResolvers<Refusal | null>();
    this.ended = promise;
    this.#resolve = resolve;
  }

  onHead(status: number, headers: readonly string[]): 'pass' | 'hold' {
    const { lease, metrics, clock, surface } = this.#options;
    lease.noteFirstByte();
    this.#headMs = clock.monotonicMs();
    metrics.firstByte(this.#headMs - this.#sentMs);
    this.#status = status;
    this.#requestId = headerOf(headers, 'x-request-id');
    this.#tap = createTap(headers, surface);
    return lease.isRepeatable && mayBeRepeated(status) ? 'hold' : 'pass';
  }

  onChunk(chunk: Buffer): void {
    this.#tap?.push(chunk);
  }

  isWhole(): boolean {
    return this.#tap?.sawLastFrame() ?? false;
  }

  /**
   * The settlement goes out before the client hears the end, so that a call it makes next finds the slot free:
   * both use one connection to Redis.
   */
  onEnd(end: RelayEnd): Promise<void> | void {
    if (end.kind === 'complete') {
      const facts = this.#tap?.finish() ?? NO_FACTS;
      if (!(facts instanceof Promise)) return this.#complete(facts, end.isHeld);
      return facts.then((decoded) => this.#complete(decoded, end.isHeld));
    }
    this.#broke(end);
  }

  /** The vendor's answer is final: says so in log and metrics. */
  noteFinal({ outcome, failure }: Refused): void {
    this.#note(outcome, failure.class, null);
  }

  #broke(end: Exclude<RelayEnd, { kind: 'complete' }>): void {
    const { lease, response, surface } = this.#options;
    const facts = this.#tap?.cut() ?? NO_FACTS;
    const how = end.kind === 'failed' ? 'upstreamBroke' : 'cutByUs';
    if (lease.isRepeatable && end.kind === 'failed' && end.beforeHead && !isSilence(end.error)) {
      const { outcome } = this.#judge(facts, how, end.sent);
      return this.#resolve({ refused: { outcome, failure: BROKEN, facts: this.#facts(false) }, end });
    }
    this.#settle(facts, how, end.sent);
    const refusal = refuseRelayEnd(surface, end);
    if (refusal !== null) reply(response, refusal);
    this.#resolve(null);
  }

  #complete(facts: ResponseFacts, isHeld: boolean): void {
    const { outcome, failure } = this.#judge(facts, 'whole', true);
    if (isHeld && failure !== null) {
      return this.#resolve({ refused: { outcome, failure, facts: this.#facts(false) }, end: null });
    }
    this.#settle(facts, 'whole', true);
    this.#resolve(null);
  }

  #judge(facts: ResponseFacts, how: Ending, sent: boolean) {
    const { errors, clock } = this.#options;
    const status = this.#status;
    const failure = status === null ? null : failureOf(errors, { status, error: facts.error, nowMs: clock.nowMs() });
    const ending = endingOf(facts, how);
    const { contentSeen } = facts;
    const outcome = outcomeOf({ sent, status, failure: failure?.class ?? null, contentSeen, ending });
    return { outcome, failure, ending };
  }

  #settle(facts: ResponseFacts, how: Ending, sent: boolean): void {
    const { lease, reserved, metrics } = this.#options;
    const { outcome, failure, ending } = this.#judge(facts, how, sent);
    const { usage, estimated } = chargeOf(facts, reserved, how === 'whole');
    const frozenUntilMs = outcome === 'refusedQuota' ? (failure?.resetAtMs ?? null) : null;
    const cutByUs = ending === 'cutByUs';
    const about = { responseModel: facts.model, facts: this.#facts(estimated) };
    void lease.settle({ outcome, usage, ...about, cutByUs, frozenUntilMs });
    if (outcome === 'completed' || outcome === 'brokeMidStream') {
      metrics.tokens(usage, estimated ? 'estimate' : 'vendor');
    }
    this.#note(outcome, failure?.class ?? null, failure?.code ?? null);
  }

  #facts(isEstimate: boolean): CallFacts {
    const { surface, response, clock, startedMs } = this.#options;
    const named = response.req.headers['x-request-id'];
    return {
      requestId: this.#requestId ?? (typeof named === 'string' ? named : null),
      surface,
      status: this.#status,
      latencyMs: clock.monotonicMs() - startedMs,
      firstByteMs: this.#headMs === null ? null : this.#headMs - startedMs,
      isEstimate,
    };
  }

  #note(outcome: Outcome, errorClass: string | null, code: string | null): void {
    const { lease, clock, log, metrics, startedMs } = this.#options;
    const durationMs = clock.monotonicMs() - startedMs;
    metrics.call(outcome, durationMs);
    if (outcome === 'completed') log.debug('call.completed', { id: lease.id, durationMs });
    else log.info('call.ended', { id: lease.id, outcome, status: this.#status, code, class: errorClass, durationMs });
  }
}

/** By its status; the body's code decides. */
function mayBeRepeated(status: number): boolean {
  return status === 408 || status === 429 || status >= 500;
}

/** After its last frame nothing of a response can be missed, whoever closed first. */
function endingOf({ complete, broke }: ResponseFacts, how: Ending): Ending {
  const heard = complete ? 'whole' : how;
  return heard === 'whole' && broke ? 'upstreamBroke' : heard;
}
