/** A call on its way: watches the response pass, then settles the lease by what it saw. */
import type { ServerResponse } from 'node:http';
import type { Clock } from '../base/clock.ts';
import type { Log } from '../base/log.ts';
import type { CatalogError } from '../catalog/terms.ts';
import { failureOf } from '../glm/errors.ts';
import { chargeOf } from '../glm/estimate.ts';
import { outcomeOf, type Ending } from '../glm/outcome.ts';
import type { ResponseFacts } from '../glm/response.ts';
import type { Surface } from '../glm/terms.ts';
import type { SidecarMetrics } from '../leases/metrics.ts';
import type { HeldLease, TokenUsage } from '../leases/terms.ts';
import type { RelayEnd, RelayListener } from './relay.ts';
import { refuseRelayEnd, reply } from './reply.ts';
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

export class MeteredCall implements RelayListener {
  readonly #options: MeteredCallOptions;
  readonly #sentMs: number;
  #status: number | null = null;
  #tap: Tap | null = null;

  constructor(options: MeteredCallOptions) {
    this.#options = options;
    this.#sentMs = options.clock.monotonicMs();
  }

  onHead(status: number, headers: readonly string[]): void {
    const { lease, metrics, clock, surface } = this.#options;
    lease.noteFirstByte();
    metrics.firstByte(clock.monotonicMs() - this.#sentMs);
    this.#status = status;
    this.#tap = createTap(headers, surface);
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
      if (!(facts instanceof Promise)) return this.#settle(facts, 'whole', true);
      return facts.then((decoded) => this.#settle(decoded, 'whole', true));
    }
    this.#settle(this.#tap?.cut() ?? NO_FACTS, end.kind === 'failed' ? 'upstreamBroke' : 'cutByUs', end.sent);
    const { response, surface } = this.#options;
    const refusal = refuseRelayEnd(surface, end);
    if (refusal !== null) reply(response, refusal);
  }

  #settle(facts: ResponseFacts, how: Ending, sent: boolean): void {
    const { lease, reserved, errors, clock, log, metrics, startedMs } = this.#options;
    const status = this.#status;
    const failure = status === null ? null : failureOf(errors, { status, error: facts.error, nowMs: clock.nowMs() });
    const ending = endingOf(facts, how);
    const { contentSeen } = facts;
    const outcome = outcomeOf({ sent, status, failure: failure?.class ?? null, contentSeen, ending });
    const { usage, estimated } = chargeOf(facts, reserved, how === 'whole');
    void lease.settle(outcome, usage, facts.model, { cutByUs: ending === 'cutByUs' });
    const durationMs = clock.monotonicMs() - startedMs;
    metrics.call(outcome, durationMs);
    if (outcome === 'completed' || outcome === 'brokeMidStream') {
      metrics.tokens(usage, estimated ? 'estimate' : 'vendor');
    }
    if (outcome === 'completed') log.debug('call.completed', { id: lease.id, durationMs });
    else
      log.info('call.ended', { id: lease.id, outcome, status, code: failure?.code, class: failure?.class, durationMs });
  }
}

/** After its last frame nothing of a response can be missed, whoever closed first. */
function endingOf({ complete, broke }: ResponseFacts, how: Ending): Ending {
  const heard = complete ? 'whole' : how;
  return heard === 'whole' && broke ? 'upstreamBroke' : heard;
}
