/** A server and a client of one service over a real socket, both closed with the test. */
import type { DescService } from '@bufbuild/protobuf';
import { onTestFinished } from 'vitest';
import { systemClock } from '#sidecar/base/clock.ts';
import { createLog, type Log } from '#sidecar/base/log.ts';
import { Channel } from '#sidecar/rpc/channel.ts';
import { createClient } from '#sidecar/rpc/client.ts';
import type { Handlers, RpcClient } from '#sidecar/rpc/handlers.ts';
import { RpcServer } from '#sidecar/rpc/server.ts';

export interface Serving<S extends DescService> {
  readonly client: RpcClient<S>;
  readonly server: RpcServer;
  readonly address: string;
  readonly channel: Channel;
}

export async function serve<S extends DescService>(
  service: S,
  handlers: Handlers<S>,
  options: { readonly log?: Log; readonly address?: string } = {},
): Promise<Serving<S>> {
  const server = new RpcServer({ clock: systemClock, log: options.log ?? createLog('silent') });
  server.add(service, handlers);
  const port = await server.listen(options.address ?? '127.0.0.1:0', { kind: 'plain' });
  const address = options.address ?? `127.0.0.1:${port}`;
  const channel = new Channel({ address, security: { kind: 'plain' }, clock: systemClock });
  onTestFinished(async () => {
    channel[Symbol.dispose]();
    await server[Symbol.asyncDispose]();
  });
  return { client: createClient(service, channel), server, address, channel };
}

/** A promise of the test's own making, and whether it is settled. */
export function latch<T = void>(): { promise: Promise<T>; open: (value: T) => void } {
  const { promise, resolve } = Promise.withResolvers<T>();
  return { promise, open: resolve };
}
