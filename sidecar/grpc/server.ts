/** The sidecar's gRPC server: LeaseService and health, on loopback and on a Unix socket. */
import { chmod, rm } from 'node:fs/promises';
import { LeaseService } from '../../proto/gen/glmquota/v1/lease_pb.ts';
import { Health } from '../../proto/gen/grpc/health/v1/health_pb.ts';
import type { Cell } from '../base/cell.ts';
import type { Clock } from '../base/clock.ts';
import type { Log } from '../base/log.ts';
import type { LeaseDesk } from '../leases/terms.ts';
import { healthService } from '../rpc/health.ts';
import { RpcServer } from '../rpc/server.ts';
import { LeaseBook } from './lease-book.ts';
import { leaseService } from './lease-service.ts';
import type { StatusPort } from './status.ts';

export interface GrpcServerOptions {
  readonly desk: LeaseDesk;
  readonly status: StatusPort;
  /** What health says. */
  readonly ready: Cell<boolean>;
  /** On 127.0.0.1; 0: any free port. */
  readonly port: number;
  /** Path of a Unix socket to serve on as well; null: none. A socket left there by an earlier process is replaced. */
  readonly socket: string | null;
  readonly clock: Clock;
  readonly log: Log;
}

export interface GrpcServer extends AsyncDisposable {
  readonly port: number;
}

/** Serves until disposed. Fails with `unavailable` when an address is taken. */
export async function serveGrpc(options: GrpcServerOptions): Promise<GrpcServer> {
  const { clock, desk, log, ready, socket, status } = options;
  await using opening = new AsyncDisposableStack();
  const book = opening.use(new LeaseBook({ clock, log }));
  const server = opening.use(new RpcServer({ clock, log }));
  server.add(LeaseService, leaseService({ desk, book, status }));
  server.add(Health, healthService([LeaseService.typeName], ready));
  const port = await server.listen(`127.0.0.1:${options.port}`, { kind: 'plain' });
  if (socket !== null) {
    await rm(socket, { force: true });
    await server.listen(`unix:${socket}`, { kind: 'plain' });
    // The agent's container runs as another user; who may reach the socket is decided by who mounts its volume.
    await chmod(socket, 0o666);
  }
  log.info('grpc.listening', { port, socket });
  const open = opening.move();
  return { port, [Symbol.asyncDispose]: () => open.disposeAsync() };
}
