/** One JSON call to the API server: bounded in time, retried where the server said it did nothing, counted. */
import { withDeadline } from '../../sidecar/base/abort.ts';
import type { Clock } from '../../sidecar/base/clock.ts';
import { AppError } from '../../sidecar/base/errors.ts';
import type { Log } from '../../sidecar/base/log.ts';
import { apiError, readFailure, retryAfterMs } from './api-errors.ts';
import { type Connection, type Method, readText, type WireReply } from './connection.ts';
import type { RuntimeMetrics } from './metrics.ts';
import { readLines } from './ndjson.ts';

const CALL_DEADLINE_MS = 30_000;
/** A server that is up answers a watch's headers at once. */
const WATCH_OPEN_MS = 15_000;
const TRIES = 3;
const LONGEST_WAIT_MS = 10_000;

export interface TransportOptions {
  readonly connection: Connection;
  readonly clock: Clock;
  readonly log: Log;
  /** `name/version (purpose)`: who the server's audit log shall show. */
  readonly userAgent: string;
  readonly metrics?: RuntimeMetrics;
}

export interface Call {
  readonly method: Method;
  readonly path: string;
  readonly query?: Readonly<Record<string, string | undefined>>;
  readonly contentType?: string;
  readonly body?: unknown;
  readonly signal?: AbortSignal | undefined;
}

export class Transport {
  readonly #connection: Connection;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #userAgent: string;
  readonly #metrics: RuntimeMetrics | undefined;
  readonly #warned = new Set<string>();

  constructor(options: TransportOptions) {
    this.#connection = options.connection;
    this.#clock = options.clock;
    this.#log = options.log;
    this.#userAgent = options.userAgent;
    this.#metrics = options.metrics;
  }

  /** The parsed answer. Fails with AppError as `apiError` says, `deadline` after 30 s. */
  async call(call: Call): Promise<unknown> {
    const what = `${call.method} ${call.path}`;
    const limit = { ms: CALL_DEADLINE_MS, what, ...(call.signal === undefined ? {} : { signal: call.signal }) };
    return withDeadline(this.#clock, limit, async (signal) => {
      for (let attempt = 1; ; attempt++) {
        try {
          return await this.#once(call, what, signal);
        } catch (reason) {
          signal.throwIfAborted();
          const waitMs = attempt < TRIES ? retryDelay(reason, call.method) : undefined;
          if (waitMs === undefined) throw reason;
          await this.#clock.sleep(waitMs, signal);
        }
      }
    });
  }

  /**
   * The values of a stream of JSON lines; ends when the server ends it. Fails with `unavailable` when the stream
   * breaks. Leaving the loop closes the socket.
   */
  async *stream(call: Pick<Call, 'path' | 'query'>, signal: AbortSignal): AsyncIterable<unknown> {
    const left = new AbortController();
    const streamSignal = AbortSignal.any([signal, left.signal]);
    const what = `watch ${call.path}`;
    try {
      const opening = { ms: WATCH_OPEN_MS, what, signal: streamSignal };
      const reply = await withDeadline(this.#clock, opening, () =>
        this.#connection.send({
          pool: 'watches',
          method: 'GET',
          target: targetOf(call.path, call.query ?? {}),
          headers: this.#headers(),
          // The stream outlives the deadline of its opening.
          signal: streamSignal,
        }),
      );
      this.#metrics?.requests.inc({ method: 'GET', code: classOf(reply.status) });
      if (reply.status !== 200) throw await failureOf(what, reply, streamSignal);
      yield* readLines(reply.body, streamSignal);
    } finally {
      left.abort(new AppError('cancelled', 'the stream was left'));
    }
  }

  #headers(): Record<string, string> {
    return { accept: 'application/json', 'user-agent': this.#userAgent };
  }

  async #once(call: Call, what: string, signal: AbortSignal): Promise<unknown> {
    const started = this.#clock.monotonicMs();
    let code = '<error>';
    try {
      const reply = await this.#connection.send({
        pool: 'calls',
        method: call.method,
        target: targetOf(call.path, call.query ?? {}),
        headers: {
          ...this.#headers(),
          ...(call.body === undefined ? {} : { 'content-type': call.contentType ?? 'application/json' }),
        },
        ...(call.body === undefined ? {} : { body: JSON.stringify(call.body) }),
        signal,
      });
      code = classOf(reply.status);
      this.#showWarnings(reply);
      if (reply.status < 200 || reply.status > 299) throw await failureOf(what, reply, signal);
      return parseJson(what, await readText(reply, signal));
    } finally {
      this.#metrics?.requests.inc({ method: call.method, code });
      this.#metrics?.requestSeconds.observe({ verb: call.method }, (this.#clock.monotonicMs() - started) / 1000);
    }
  }

  /** Each warning of the server once a process: it repeats them with every call. */
  #showWarnings(reply: WireReply): void {
    const header = reply.headers['warning'];
    for (const text of typeof header === 'string' ? [header] : (header ?? [])) {
      if (this.#warned.has(text) || this.#warned.size >= 100) continue;
      this.#warned.add(text);
      this.#log.warn('kube.warning', { warning: text });
    }
  }
}

function targetOf(path: string, query: Readonly<Record<string, string | undefined>>): string {
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) if (value !== undefined) search.set(name, value);
  return search.size === 0 ? path : `${path}?${search.toString()}`;
}

function classOf(status: number): string {
  return `${Math.floor(status / 100)}xx`;
}

function parseJson(what: string, text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (reason) {
    throw new AppError('unavailable', `${what}: the answer is no JSON`, { cause: reason });
  }
}

async function failureOf(what: string, reply: WireReply, signal: AbortSignal): Promise<AppError> {
  const retryAfter = reply.headers['retry-after'];
  return apiError(what, readFailure(reply.status, await readText(reply, signal), retryAfter));
}

/**
 * How long to wait before the same call goes out again, or undefined when it must not: after a `Retry-After` the
 * server promises it did nothing; without an answer only a read is known to be harmless.
 */
function retryDelay(reason: unknown, method: Method): number | undefined {
  if (!(reason instanceof AppError)) return undefined;
  const asked = retryAfterMs(reason);
  if (asked !== undefined) return asked <= LONGEST_WAIT_MS ? asked : undefined;
  if (reason.fields['status'] === 429) return 1000;
  return method === 'GET' && reason.code === 'unavailable' && reason.fields['status'] === undefined ? 100 : undefined;
}
