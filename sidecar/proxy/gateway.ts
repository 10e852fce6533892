/** What happens to one HTTP request: where it goes, whether it may, and the way back. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Cell } from '../base/cell.ts';
import type { Clock } from '../base/clock.ts';
import { AppError } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import type { SidecarSnapshot } from '../control/terms.ts';
import { estimateRequest } from '../glm/estimate.ts';
import { type Destination, destinationOf } from '../glm/paths.ts';
import { refuseDenial, refuseDestination, refuseError, refuseUnavailable } from '../glm/refusal.ts';
import { readRequest } from '../glm/request.ts';
import type { Surface } from '../glm/terms.ts';
import type { CallLabel, SidecarMetrics } from '../leases/metrics.ts';
import type { CallSpec, Claims, HeldLease, LeaseDesk, TokenUsage } from '../leases/terms.ts';
import { sendUntilAnswered } from './attempts.ts';
import { BodyBudget, readBody } from './body.ts';
import { parseClaims } from './claims.ts';
import { upstreamHeaders, warningHeaders } from './headers.ts';
import { PassedCall } from './passed-call.ts';
import { placeOf } from './place.ts';
import { Relay, type RelayOptions } from './relay.ts';
import { labelOf, reply } from './reply.ts';
import type { Upstreams } from './upstream.ts';

export interface GatewayOptions {
  readonly desk: LeaseDesk;
  readonly snapshots: Cell<SidecarSnapshot | null>;
  /** Why there is no snapshot, where the operator said so: the client is told. */
  readonly refusals: Cell<AppError | null>;
  readonly upstreams: Upstreams;
  readonly bodyLimitBytes: number;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: SidecarMetrics;
}

/** Bodies of the largest size that are kept at once; agents' calls are a tenth of it or less. */
const LARGEST_BODIES = 4;

/** One request and what has been found out about it. */
interface Exchange {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly awaitsContinue: boolean;
  readonly surface: Surface;
  readonly snapshot: SidecarSnapshot;
  readonly startedMs: number;
  /** Aborts when the client goes away before its answer is complete. */
  readonly gone: AbortSignal;
}

export class Gateway {
  readonly #options: GatewayOptions;
  readonly #bodies: BodyBudget;

  constructor(options: GatewayOptions) {
    this.#options = options;
    this.#bodies = new BodyBudget(LARGEST_BODIES * options.bodyLimitBytes);
  }

  /** Answers one request; never throws. `awaitsContinue`: the client sends its body when told to. */
  async serve(request: IncomingMessage, response: ServerResponse, awaitsContinue: boolean): Promise<void> {
    const { clock, log, metrics, snapshots } = this.#options;
    const startedMs = clock.monotonicMs();
    const gone = new AbortController();
    response.on('close', () => {
      if (!response.writableFinished) gone.abort(clientGone());
    });
    const { method = '', url = '' } = request;
    const snapshot = snapshots.value;
    const destination = destinationOf(method, url, snapshot?.upstream.billing ?? 'CodingPlan');
    const { surface } = destination;
    try {
      if (!url.startsWith('/')) throw new AppError('invalid', 'the request target must be a path');
      if (snapshot === null) throw this.#options.refusals.value ?? notConfigured();
      const exchange = { request, response, awaitsContinue, surface, snapshot, startedMs, gone: gone.signal };
      await this.#route(exchange, destination);
    } catch (reason) {
      const error = gone.signal.aborted ? clientGone() : AppError.from(reason);
      if (error.code === 'internal') log.error('call.failed', { cause: error.message });
      metrics.call(labelOf(error), clock.monotonicMs() - startedMs);
      reply(response, refuseError(surface, error), error.code === 'tooLarge' ? 'close' : 'keep');
    }
  }

  async #route(exchange: Exchange, destination: Destination): Promise<void> {
    switch (destination.kind) {
      case 'unknown':
      case 'wrongBilling':
        reply(exchange.response, refuseDestination(destination));
        return this.#count(exchange, destination.kind === 'unknown' ? 'notFound' : 'forbidden');
      case 'free':
        return await this.#pass(exchange);
      case 'metered':
        return await this.#meter(exchange);
    }
  }

  async #pass(exchange: Exchange): Promise<void> {
    const body = await this.#body(exchange);
    const { response, surface } = exchange;
    this.#relay(exchange, body, {
      listener: new PassedCall(response, surface, (ended) => this.#count(exchange, ended)),
    });
  }

  async #meter(exchange: Exchange): Promise<void> {
    const { request, snapshot } = exchange;
    const claims = parseClaims(request.rawHeaders);
    const body = await this.#body(exchange);
    const read = readRequest(body);
    if (read.kind === 'unreadable') throw new AppError('invalid', read.message);
    const estimate = estimateRequest(read);
    const place = (): string => placeOf(snapshot.binding.leaf, request.url ?? '', body);
    const spec = { model: read.model, estimate, claims, place };
    if (await this.#admitAndSend(exchange, body, spec)) return;
    // While this process stood still Redis gave the slot to another: what is left of the wait is waited for the next.
    const rest = { ...spec, claims: { ...claims, maxWaitMs: this.#remainingMs(exchange, claims) } };
    if (await this.#admitAndSend(exchange, body, rest)) return;
    throw new AppError('unavailable', 'the lease of this call was lost before it started');
  }

  /** Of the call's wait. */
  #remainingMs({ snapshot, startedMs }: Exchange, { maxWaitMs = Number.POSITIVE_INFINITY }: Claims): number {
    const waitedMs = this.#options.clock.monotonicMs() - startedMs;
    return Math.max(0, Math.min(maxWaitMs, snapshot.binding.waiting.maxWaitMs) - waitedMs);
  }

  /** False: it was admitted, and lost its lease before anything was sent. */
  async #admitAndSend(exchange: Exchange, body: Buffer, spec: CallSpec): Promise<boolean> {
    const { desk, clock } = this.#options;
    const { response, surface, gone } = exchange;
    const admission = await desk.admit(spec, gone);
    switch (admission.kind) {
      case 'denied':
        reply(response, refuseDenial(surface, admission, clock.nowMs()));
        this.#count(exchange, 'denied');
        return true;
      case 'unavailable':
        reply(response, refuseUnavailable(surface, admission.message));
        this.#count(exchange, 'unavailable');
        return true;
      case 'admitted':
        return await this.#send(exchange, body, admission.lease, spec.estimate);
    }
  }

  async #send(exchange: Exchange, body: Buffer, first: HeldLease, reserved: TokenUsage): Promise<boolean> {
    const { snapshot, ...rest } = exchange;
    const { clock, log, metrics } = this.#options;
    const { errors } = snapshot.catalog;
    return sendUntilAnswered(first, {
      ...rest,
      reserved,
      errors,
      clock,
      log,
      metrics,
      relay: (listener, lease) => {
        const relay = this.#relay(exchange, body, { listener, extraHeaders: warningHeaders(lease.warnings) });
        lease.signal.addEventListener('abort', () => relay.abort(lease.signal.reason), { once: true });
        return relay;
      },
    });
  }

  #relay(
    { request, response, snapshot, gone }: Exchange,
    body: Buffer,
    to: Pick<RelayOptions, 'listener' | 'extraHeaders'>,
  ): Relay {
    const { upstream } = snapshot;
    const { pool, host } = this.#options.upstreams.of(upstream);
    const relay = new Relay({ ...to, response, clock: this.#options.clock });
    gone.addEventListener('abort', () => relay.leave(gone.reason), { once: true });
    relay.start(pool, {
      method: request.method === 'GET' ? 'GET' : 'POST',
      path: request.url ?? '/',
      headers: upstreamHeaders(request.rawHeaders, { host, apiKey: upstream.apiKey }),
      body: body.length === 0 ? null : body,
    });
    if (gone.aborted) relay.leave(gone.reason);
    return relay;
  }

  async #body({ request, response, awaitsContinue }: Exchange): Promise<Buffer> {
    const { bodyLimitBytes } = this.#options;
    const tooLarge = (): AppError =>
      new AppError('tooLarge', `the request body is larger than ${bodyLimitBytes} bytes`);
    if (awaitsContinue) {
      if (Number(request.headers['content-length'] ?? 0) > bodyLimitBytes) throw tooLarge();
      response.writeContinue();
    }
    const share = this.#bodies.share();
    // Kept until the call is over: the vendor may still be reading it.
    response.once('close', () => share.release());
    const read = await readBody(request, bodyLimitBytes, share);
    if (read.kind === 'tooLarge') throw tooLarge();
    if (read.kind === 'noRoom') throw new AppError('unavailable', 'too many large calls are under way at once');
    return read.body;
  }

  #count({ startedMs }: Exchange, ended: CallLabel): void {
    this.#options.metrics.call(ended, this.#options.clock.monotonicMs() - startedMs);
  }
}

function clientGone(): AppError {
  return new AppError('cancelled', 'the client went away');
}

function notConfigured(): AppError {
  return new AppError('unavailable', 'no configuration of the operator is in force');
}
