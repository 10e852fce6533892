/** A connection to one server. */
import { Client } from '@grpc/grpc-js';
import type { Clock } from '../base/clock.ts';
import { assertLocal, type ChannelSecurity, channelCredentials } from './security.ts';

export interface ChannelOptions {
  /** `host:port`, `[ipv6]:port` or `unix:/path`. */
  readonly address: string;
  readonly security: ChannelSecurity;
  readonly clock: Clock;
  /** Larger responses fail with `exhausted`; default 16 MiB. */
  readonly maxResponseBytes?: number;
}

/** Connects when first used, and again, with a back-off below 5 s, whenever the connection breaks. */
export class Channel implements Disposable {
  readonly grpc: Client;
  readonly clock: Clock;

  /** Fails with `invalid` when the address is not local and not TLS. */
  constructor(options: ChannelOptions) {
    if (options.security.kind === 'plain') assertLocal(options.address);
    this.clock = options.clock;
    const serverName = options.security.kind === 'tls' ? options.security.serverName : undefined;
    this.grpc = new Client(options.address, channelCredentials(options.security), {
      ...(serverName === undefined ? {} : { 'grpc.ssl_target_name_override': serverName }),
      'grpc.max_receive_message_length': options.maxResponseBytes ?? 2 ** 24,
      'grpc.keepalive_time_ms': 20_000,
      'grpc.keepalive_timeout_ms': 10_000,
      'grpc.initial_reconnect_backoff_ms': 100,
      'grpc.max_reconnect_backoff_ms': 5_000,
      // Neither a proxy of the environment nor the process-wide connection pool nor DNS may change where calls go.
      'grpc.enable_http_proxy': 0,
      'grpc.use_local_subchannel_pool': 1,
      'grpc.service_config_disable_resolution': 1,
      'grpc.enable_retries': 0,
      'grpc.enable_channelz': 0,
    });
  }

  [Symbol.dispose](): void {
    this.grpc.close();
  }
}
