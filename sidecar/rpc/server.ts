/** A gRPC server for typed handlers. */
import type { DescService } from '@bufbuild/protobuf';
import { Server } from '@grpc/grpc-js';
import type { Clock } from '../base/clock.ts';
import { AppError } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import { bindService } from './bind.ts';
import type { LiveCall } from './call.ts';
import type { Handlers } from './handlers.ts';
import { assertLocal, type ServerSecurity, serverCredentials } from './security.ts';

export interface RpcServerOptions {
  readonly clock: Clock;
  readonly log: Log;
  /** Larger requests are answered RESOURCE_EXHAUSTED; default 1 MiB. */
  readonly maxRequestBytes?: number;
  /** Per connection; default 1,000. */
  readonly maxConcurrentStreams?: number;
}

/** How long a stopping server waits for calls whose handlers do not heed their signal. */
const STOP_GRACE_MS = 1_000;

export class RpcServer implements AsyncDisposable {
  readonly #server: Server;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #live = new Set<LiveCall>();

  constructor(options: RpcServerOptions) {
    this.#clock = options.clock;
    this.#log = options.log;
    this.#server = new Server({
      'grpc.max_receive_message_length': options.maxRequestBytes ?? 2 ** 20,
      'grpc.max_concurrent_streams': options.maxConcurrentStreams ?? 1_000,
      // A peer that vanished without a word is noticed within a minute and a half.
      'grpc.keepalive_time_ms': 60_000,
      'grpc.keepalive_timeout_ms': 20_000,
      'grpc.enable_channelz': 0,
    });
  }

  /** Serves every RPC of the service. Call before `listen`. */
  add<S extends DescService>(service: S, handlers: Handlers<S>): void {
    const bound = bindService(service, handlers, { clock: this.#clock, log: this.#log, live: this.#live });
    this.#server.addService(bound.definition, bound.implementation);
  }

  /** How many calls run now. */
  get liveCalls(): number {
    return this.#live.size;
  }

  /**
   * Listens on `host:port` (0: any free one), `[ipv6]:port` or `unix:/path`, besides the addresses before; gives the
   * port. Fails with `unavailable` when the address is taken, `invalid` when it is not local and not TLS.
   */
  async listen(address: string, security: ServerSecurity): Promise<number> {
    if (security.kind === 'plain') assertLocal(address);
    const { promise, resolve, reject } = Promise.withResolvers<number>();
    this.#server.bindAsync(address, serverCredentials(security), (cause, port) => {
      if (cause) reject(new AppError('unavailable', `cannot listen on ${address}: ${cause.message}`, { cause }));
      else resolve(port);
    });
    return promise;
  }

  /** Takes no new calls, aborts those that run with `unavailable`, and waits a second at most until all have ended. */
  async [Symbol.asyncDispose](): Promise<void> {
    const { promise: ended, resolve } = Promise.withResolvers<void>();
    this.#server.tryShutdown(() => resolve());
    for (const call of this.#live) call.abort(new AppError('unavailable', 'the server is stopping'));
    const waited = new AbortController();
    const tooLong = this.#clock.sleep(STOP_GRACE_MS, waited.signal).catch(() => undefined);
    await Promise.race([ended, tooLong]);
    waited.abort();
    this.#server.forceShutdown();
  }
}
