/** Edge's gRPC server: ControlService over TLS. */
import type { Registry } from 'prom-client';
import { ControlService } from '../../proto/gen/glmquota/v1/control_pb.ts';
import { Health } from '../../proto/gen/grpc/health/v1/health_pb.ts';
import { type Cell, createCell } from '../../sidecar/base/cell.ts';
import type { Clock } from '../../sidecar/base/clock.ts';
import type { Log } from '../../sidecar/base/log.ts';
import type { SnapshotDemands } from '../../sidecar/control/encode.ts';
import { healthService } from '../../sidecar/rpc/health.ts';
import type { Certificate } from '../../sidecar/rpc/security.ts';
import { RpcServer } from '../../sidecar/rpc/server.ts';
import { createEdgeMetrics } from './metrics.ts';
import { Publications } from './publications.ts';
import { PodStreams } from './streams.ts';
import type { CacheView, PodSource, RedisAccess, TokenReviewer, TreeRevisions, WorldView } from './terms.ts';
import { TokenGate } from './token-gate.ts';
import { TreeWatch } from './tree-watch.ts';
import { watchService } from './watch-service.ts';

export interface EdgeOptions {
  /** `host:port` or `[ipv6]:port` to listen on. */
  readonly address: string;
  readonly certificate: Certificate;
  /** Only images of its repository are sent anything. */
  readonly sidecarImage: string;
  readonly verifyPeerAddress: boolean;
  readonly demands: SnapshotDemands;
  readonly pods: PodSource;
  readonly reviewer: TokenReviewer;
  readonly world: WorldView;
  readonly caches: CacheView;
  readonly revisions: TreeRevisions;
  /** How sidecars reach Redis; null until its Secret is there. */
  readonly redis: Cell<RedisAccess | null>;
  /** What the health service says; for Kubernetes the probes say it. Never depends on Redis. */
  readonly ready: Cell<boolean>;
  readonly clock: Clock;
  readonly log: Log;
  readonly registry: Registry;
}

export interface Edge extends AsyncDisposable {
  readonly port: number;
  /** New connections use this certificate from now on. */
  setCertificate(certificate: Certificate): void;
}

/** Serves until disposed. Call it when the caches have synced: before, pods would be told to come back. */
export async function startEdge(options: EdgeOptions): Promise<Edge> {
  const { clock, log, redis, revisions, world } = options;
  await using opening = new AsyncDisposableStack();
  const changes = createCell(0);
  const changed = (): void => changes.set(changes.value + 1);
  const trees = opening.use(
    new TreeWatch({ revisions, onChange: changed, onDiffers: (key) => world.forget(key), clock, log }),
  );
  opening.use(world.subscribe(changed));
  opening.use(onEvery(redis, changed));
  const publications = new Publications({ ...options, trees });
  const server = opening.use(new RpcServer({ clock, log }));
  const gate = new TokenGate(clock, options.reviewer);
  const metrics = createEdgeMetrics(options.registry);
  server.add(
    ControlService,
    watchService({ ...options, gate, streams: new PodStreams(), publications, trees, changes, metrics }),
  );
  server.add(Health, healthService([ControlService.typeName], options.ready));
  const certificate = createCell(options.certificate);
  const certificates = {
    get current() {
      return certificate.value;
    },
    watch: (listener: () => void) => onEvery(certificate, listener),
  };
  const port = await server.listen(options.address, { kind: 'tls', certificates });
  log.info('edge.listening', { address: options.address, port });
  const open = opening.move();
  return {
    port,
    setCertificate: (next) => certificate.set(next),
    [Symbol.asyncDispose]: () => open.disposeAsync(),
  };
}

/** Calls `listener` after every change of the cell until disposed. */
function onEvery(cell: Cell<unknown>, listener: () => void): Disposable {
  const stop = new AbortController();
  void (async () => {
    for (;;) {
      await cell.next(stop.signal);
      listener();
    }
  })().catch(() => undefined);
  return { [Symbol.dispose]: () => stop.abort() };
}
