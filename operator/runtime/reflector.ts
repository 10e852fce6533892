/**
 * Keeps a sink equal to what the API server has: list in pages, watch from there, resume where a watch ended, list
 * again only when the server forgot the place. Whatever happens it goes on until it is told to stop.
 */
import { orAbort } from '../../sidecar/base/abort.ts';
import type { Clock } from '../../sidecar/base/clock.ts';
import { AppError } from '../../sidecar/base/errors.ts';
import { jitter } from '../../sidecar/base/ids.ts';
import type { Log } from '../../sidecar/base/log.ts';
import { apiError, isExpired, retryAfterMs } from './api-errors.ts';
import { Backoff } from './backoff.ts';
import type { KubeClient, Scope } from './client.ts';
import type { ReflectorEvent, RuntimeMetrics } from './metrics.ts';
import { readKubeObject, type KubeObject, type ResourceType } from './resources.ts';
import type { Sink } from './store.ts';

export interface ReflectorTimings {
  /** A watch is asked to end after this to twice this, so that servers can balance connections. Seconds. */
  readonly watchSeconds: number;
  /** The server sends a bookmark about every minute; a stream silent for longer than this is taken for dead. */
  readonly silenceMs: number;
  readonly backoffMs: { readonly first: number; readonly most: number };
  /** A watch that lived this long was healthy: the next failure starts at the first delay again. */
  readonly healthyMs: number;
  /** Lists that follow a 410 are spread over this time, as every client gets one at once. */
  readonly relistSpreadMs: number;
}

export const REFLECTOR_TIMINGS: ReflectorTimings = {
  watchSeconds: 300,
  silenceMs: 130_000,
  backoffMs: { first: 800, most: 30_000 },
  healthyMs: 10_000,
  relistSpreadMs: 1000,
};

export interface ReflectorOptions {
  readonly client: Pick<KubeClient, 'listPage' | 'watch'>;
  readonly type: ResourceType;
  readonly scope?: Scope;
  readonly sink: Sink;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics?: RuntimeMetrics;
  readonly timings?: Partial<ReflectorTimings>;
  /** A number in [0, 1). */
  readonly random?: () => number;
}

interface WatchEvent {
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED' | 'BOOKMARK';
  readonly object: KubeObject;
}

export class Reflector {
  readonly #options: ReflectorOptions;
  readonly #timings: ReflectorTimings;
  readonly #random: () => number;
  readonly #log: Log;
  readonly #backoff: Backoff;
  /** Where to watch from; null: list first. */
  #resourceVersion: string | null = null;
  #lastHeardMs: number;

  constructor(options: ReflectorOptions) {
    this.#options = options;
    this.#timings = { ...REFLECTOR_TIMINGS, ...options.timings };
    this.#random = options.random ?? jitter;
    this.#log = options.log.with({ resource: options.type.plural });
    this.#backoff = new Backoff(this.#timings.backoffMs, this.#random);
    this.#lastHeardMs = options.clock.monotonicMs();
  }

  /** Milliseconds since the server was last heard of: what a liveness check asks. */
  get silentMs(): number {
    return this.#options.clock.monotonicMs() - this.#lastHeardMs;
  }

  /** Runs until the signal aborts; never fails. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const started = this.#options.clock.monotonicMs();
      let failure: unknown;
      try {
        if (this.#resourceVersion === null) await this.#list(signal);
        await this.#watch(signal);
      } catch (reason) {
        failure = reason;
      }
      if (signal.aborted) return;
      const livedMs = this.#options.clock.monotonicMs() - started;
      if (livedMs >= this.#timings.healthyMs) this.#backoff.reset();
      const waitMs = this.#waitAfter(failure, livedMs);
      await this.#options.clock.sleep(waitMs, signal).catch(() => undefined);
    }
  }

  #waitAfter(failure: unknown, livedMs: number): number {
    if (failure === undefined) {
      // The server ended the watch as asked. One that keeps ending them at once must not make us spin.
      return livedMs >= this.#timings.healthyMs ? 0 : this.#backoff.next();
    }
    if (isExpired(failure)) {
      this.#resourceVersion = null;
      this.#count('expired');
      const spreadMs = this.#random() * this.#timings.relistSpreadMs;
      return livedMs >= this.#timings.healthyMs ? spreadMs : this.#backoff.next();
    }
    this.#count('error');
    const error = AppError.from(failure);
    const waitMs = Math.max(this.#backoff.next(), retryAfterMs(error) ?? 0);
    this.#log.warn('reflector.failed', { code: error.code, cause: error.message, waitMs: Math.round(waitMs) });
    return waitMs;
  }

  async #list(signal: AbortSignal): Promise<void> {
    this.#count('list');
    const { client, type, scope, sink } = this.#options;
    let replacement = sink.replace();
    let token: string | undefined;
    let whole = false;
    for (;;) {
      try {
        const paging = whole ? { limit: 0 } : token === undefined ? {} : { continue: token };
        const page = await client.listPage(type, { ...scope, ...paging }, { signal });
        this.#lastHeardMs = this.#options.clock.monotonicMs();
        for (const item of page.items) replacement.add(item);
        if (page.continue === undefined) {
          replacement.commit();
          this.#resourceVersion = page.resourceVersion;
          return;
        }
        token = page.continue;
      } catch (reason) {
        // The pages took longer than the server keeps their version: only one big page is sure to be consistent.
        if (token === undefined || whole || !isExpired(reason)) throw reason;
        this.#count('relist');
        replacement = sink.replace();
        whole = true;
      }
    }
  }

  async #watch(signal: AbortSignal): Promise<void> {
    this.#count('watch');
    const { client, type, scope } = this.#options;
    const silence = new AbortController();
    const streamSignal = AbortSignal.any([signal, silence.signal]);
    const stopped = new AbortController();
    this.#lastHeardMs = this.#options.clock.monotonicMs();
    const guard = this.#guardSilence(silence, AbortSignal.any([signal, stopped.signal]));
    const options = {
      ...scope,
      resourceVersion: this.#resourceVersion ?? '',
      timeoutSeconds: Math.round(this.#timings.watchSeconds * (1 + this.#random())),
    };
    const events = client.watch(type, options, streamSignal)[Symbol.asyncIterator]();
    try {
      for (;;) {
        const next = await orAbort(events.next(), streamSignal);
        if (next.done === true) return;
        this.#lastHeardMs = this.#options.clock.monotonicMs();
        this.#take(readEvent(type, next.value));
      }
    } finally {
      stopped.abort();
      // A generator stuck in a dead stream may never return; it was told to stop by its signal and is left alone.
      events.return?.().catch(() => undefined);
      await guard;
    }
  }

  /** Gives the stream up when nothing was heard for too long: a half-open connection never ends by itself. */
  async #guardSilence(silence: AbortController, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const leftMs = this.#timings.silenceMs - this.silentMs;
      if (leftMs <= 0) {
        this.#count('silence');
        silence.abort(new AppError('unavailable', `nothing heard for ${this.#timings.silenceMs} ms`));
        return;
      }
      await this.#options.clock.sleep(leftMs, signal).catch(() => undefined);
    }
  }

  #take(event: WatchEvent): void {
    const { sink } = this.#options;
    if (event.type === 'DELETED') sink.remove(event.object);
    else if (event.type !== 'BOOKMARK') sink.upsert(event.object);
    this.#resourceVersion = event.object.metadata.resourceVersion;
  }

  #count(event: ReflectorEvent): void {
    this.#options.metrics?.reflectorEvents.inc({ resource: this.#options.type.plural, event });
  }
}

/** The line as event. An `ERROR` line fails as the status it holds; anything unreadable as expired: only a list helps. */
function readEvent(type: ResourceType, line: unknown): WatchEvent {
  const { type: kind, object } = asFields(line);
  if (kind === 'ERROR') {
    const { code, reason, message } = asFields(object);
    throw apiError(`watch ${type.plural}`, {
      status: typeof code === 'number' ? code : 500,
      reason: typeof reason === 'string' ? reason : '',
      message: typeof message === 'string' ? message : 'the server ended the watch with an error',
    });
  }
  if (kind === 'ADDED' || kind === 'MODIFIED' || kind === 'DELETED' || kind === 'BOOKMARK') {
    const read = readKubeObject(object);
    if (read?.metadata.resourceVersion !== undefined) return { type: kind, object: read };
  }
  throw apiError(`watch ${type.plural}`, { status: 410, reason: 'Unreadable', message: 'an event could not be read' });
}

function asFields(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
}
