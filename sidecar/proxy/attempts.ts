/** A metered call and its tries: sent until it is answered, or the vendor's refusal is final (rule Q7). */
import type { ServerResponse } from 'node:http';
import type { Clock } from '../base/clock.ts';
import type { Log } from '../base/log.ts';
import type { CatalogError } from '../catalog/terms.ts';
import type { Surface } from '../glm/terms.ts';
import type { SidecarMetrics } from '../leases/metrics.ts';
import type { HeldLease, TokenUsage } from '../leases/terms.ts';
import { MeteredCall, type Refusal } from './metered-call.ts';
import type { Relay, RelayListener } from './relay.ts';
import { refuseRelayEnd, reply } from './reply.ts';

export interface AttemptsOptions {
  readonly response: ServerResponse;
  readonly surface: Surface;
  readonly reserved: TokenUsage;
  readonly errors: readonly CatalogError[];
  /** Monotonic. */
  readonly startedMs: number;
  /** Aborts when the client goes away. */
  readonly gone: AbortSignal;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: SidecarMetrics;
  /** Sends the request. */
  readonly relay: (listener: RelayListener, lease: HeldLease) => Relay;
}

/** What the last try left: the client gets it if there is no further one. */
interface Leftover {
  readonly lease: HeldLease;
  readonly call: MeteredCall;
  readonly relay: Relay;
  readonly refusal: Refusal;
}

/**
 * Resolves when the client has been served, or is gone; the lease is settled then. False: the lease was lost and nothing
 * was sent. Fails with `unavailable` when Redis could not tell whether it may be sent, and with the reason of `gone`.
 */
export async function sendUntilAnswered(first: HeldLease, options: AttemptsOptions): Promise<boolean> {
  if (!(await starts(first, options))) return false;
  let leftover = await transmit(first, options);
  while (leftover !== null) {
    const { refused } = leftover.refusal;
    const lease: HeldLease | null = await leftover.lease.again(refused);
    if (lease === null || !(await startsAgain(lease, options))) {
      leftover.call.noteFinal(refused);
      giveUp(leftover, options);
      return true;
    }
    options.log.info('call.repeated', { id: lease.id, outcome: refused.outcome, class: refused.failure.class });
    leftover = await transmit(lease, options);
  }
  return true;
}

/** False: the lease is gone. */
async function starts(lease: HeldLease, { gone }: AttemptsOptions): Promise<boolean> {
  let started = false;
  try {
    started = await lease.start(gone);
  } finally {
    if (!started) await lease.cancel();
  }
  return started;
}

/** A repeated call that cannot start has an answer already. */
async function startsAgain(lease: HeldLease, options: AttemptsOptions): Promise<boolean> {
  try {
    return await starts(lease, options);
  } catch {
    return false;
  }
}

async function transmit(lease: HeldLease, options: AttemptsOptions): Promise<Leftover | null> {
  const call = new MeteredCall({ ...options, lease });
  const relay = options.relay(call, lease);
  const refusal = await call.ended;
  return refusal === null ? null : { lease, call, relay, refusal };
}

function giveUp({ relay, refusal }: Leftover, { response, surface }: AttemptsOptions): void {
  const ours = refusal.end === null ? null : refuseRelayEnd(surface, refusal.end);
  if (ours === null) relay.pass();
  else reply(response, ours);
}
