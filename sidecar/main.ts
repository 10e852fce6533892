/**
 * The sidecar's composition root: configuration → adapters → servers → wait for the signal → end in reverse.
 * Exit codes: 0 ended as asked, 1 failed, 2 wrong arguments or configuration.
 */
import manifest from '../package.json' with { type: 'json' };
import { createCell, type Cell } from './base/cell.ts';
import { type Clock, systemClock } from './base/clock.ts';
import { AppError } from './base/errors.ts';
import { createLog, type Log } from './base/log.ts';
import { createRegistry } from './base/metrics.ts';
import { describeVariables, readConfig, type SidecarConfig } from './config.ts';
import { fileSource } from './control/file-source.ts';
import { followSnapshots } from './control/follow.ts';
import type { SidecarSnapshot, SnapshotSource } from './control/terms.ts';
import type { SidecarVersion } from './control/version.ts';
import { watchSource } from './control/watch-source.ts';
import { createSidecarEngine } from './engine/client.ts';
import { connectRedis } from './engine/connect.ts';
import { ENGINE_VERSION } from './engine/library.ts';
import { serveGrpc } from './grpc/server.ts';
import { createLeaseDesk, type OpenDesk } from './leases/desk.ts';
import type { OpenEngine } from './leases/metered-engine.ts';
import { createSidecarMetrics, type SidecarMetrics } from './leases/metrics.ts';
import { AdminServer } from './proxy/admin.ts';
import { Gateway } from './proxy/gateway.ts';
import { ProxyServer } from './proxy/server.ts';
import { createUpstreams } from './proxy/upstream.ts';

const VERSION: SidecarVersion = { sidecarVersion: manifest.version, engineVersions: [ENGINE_VERSION] };

const HELP = `glmquota sidecar ${VERSION.sidecarVersion}: meters and forwards one agent's GLM calls

Usage: node sidecar/main.ts [--help | --version]

Environment:
${describeVariables()}

Ends on SIGTERM or SIGINT once no call of the agent runs any more, at once on a second one.
Exit codes: 0 ended as asked, 1 failed, 2 wrong arguments or configuration.
`;

/** Without a snapshot by then, calls are refused with a reason: better than an agent that never starts. */
const READY_AFTER_MS = 5000;
/** What the kubelet leaves us once the agent has ended is not much; Redis expires what is not told in time. */
const DRAIN_MS = 800;

async function main(args: readonly string[]): Promise<number> {
  if (args.includes('--help')) return say(HELP);
  if (args.includes('--version')) return say(`${VERSION.sidecarVersion}\n`);
  if (args.length > 0) return complain(`unknown argument ${args[0]}; --help says what there is`);
  let config: SidecarConfig;
  try {
    config = readConfig();
  } catch (reason) {
    return complain(AppError.from(reason).message);
  }
  const log = createLog(config.logLevel);
  try {
    await run(config, log);
    return 0;
  } catch (reason) {
    const error = AppError.from(reason);
    log.error('sidecar.failed', { code: error.code, cause: error.message });
    return 1;
  }
}

async function run(config: SidecarConfig, log: Log): Promise<void> {
  const clock = systemClock;
  const stopping = signals(log);
  const registry = createRegistry();
  const metrics = createSidecarMetrics(registry);
  const snapshots = createCell<SidecarSnapshot | null>(null);
  const refusals = createCell<AppError | null>(null);
  const ready = createCell(false);
  await using stack = new AsyncDisposableStack();

  const openEngine = (snapshot: SidecarSnapshot): OpenEngine => connectEngine(snapshot, log);
  const desk = stack.use(createLeaseDesk({ snapshots, openEngine, processId: config.podUid, clock, log, metrics }));
  const upstreams = stack.use(createUpstreams(config.upstreamIdleMs));
  const { bodyLimitBytes } = config;
  const gateway = new Gateway({ desk, snapshots, refusals, upstreams, bodyLimitBytes, clock, log, metrics });
  const proxy = stack.use(new ProxyServer(gateway));
  const admin = stack.use(new AdminServer({ registry, isReady: () => ready.value }));
  const ports = {
    admin: await admin.listen(config.adminHost, config.adminPort),
    http: await proxy.listen(config.httpPort),
    grpc: 0,
  };
  const status = {
    binding: () => snapshots.value?.binding ?? null,
    snapshot: (signal: AbortSignal) => desk.readTree(signal),
  };
  const grpc = stack.use(
    await serveGrpc({ desk, status, ready, port: config.grpcPort, socket: config.socket, clock, log }),
  );
  log.info('sidecar.listening', { ...ports, grpc: grpc.port, version: VERSION.sidecarVersion });

  const following = new AbortController();
  stack.defer(() => following.abort());
  void readyInTime({ snapshots, ready, desk, clock }, following.signal);
  void gaugeGeneration(snapshots, metrics, following.signal);
  const followed = followSnapshots(
    { source: sourceOf(config, clock, log), snapshots, refusals, clock, log },
    following.signal,
  );
  await Promise.race([stopping.asked, followed]);

  log.info('sidecar.stopping', { calls: proxy.active });
  await Promise.race([proxy.quiet(), stopping.insisted]);
  await desk.drain(AbortSignal.timeout(DRAIN_MS));
}

/** The first signal asks to end when the agent has, the second at once. */
function signals(log: Log): { readonly asked: Promise<void>; readonly insisted: Promise<void> } {
  const asked = Promise.withResolvers<void>();
  const insisted = Promise.withResolvers<void>();
  let count = 0;
  const onSignal = (signal: NodeJS.Signals): void => {
    count += 1;
    log.info('sidecar.signal', { signal });
    asked.resolve();
    if (count > 1) insisted.resolve();
  };
  process.on('SIGTERM', onSignal);
  process.on('SIGINT', onSignal);
  return { asked: asked.promise, insisted: insisted.promise };
}

function connectEngine({ binding, redis }: SidecarSnapshot, log: Log): OpenEngine {
  const onError = (error: AppError): void => log.warn('redis.away', { code: error.code, message: error.message });
  const connection = connectRedis(redis, { name: `glmquota-sidecar-${binding.treeKey}`, onError });
  return {
    engine: createSidecarEngine({
      redis: connection.redis,
      treeKey: binding.treeKey,
      subscribe: (channel, listener, signal) => connection.subscribe(channel, listener, signal),
    }),
    ready: (signal) => connection.ready(signal),
    reconnect: (signal) => connection.reconnect(signal),
    authenticate: (password) => connection.authenticate(password),
    [Symbol.asyncDispose]: () => connection[Symbol.asyncDispose](),
  };
}

function sourceOf(config: SidecarConfig, clock: Clock, log: Log): SnapshotSource {
  const { source } = config;
  if (source.kind === 'file') return fileSource(source.path, VERSION);
  const { address, tokenFile, caPem } = source;
  return watchSource({ address, security: { kind: 'tls', caPem }, tokenFile, version: VERSION, clock, log });
}

interface Readiness {
  readonly snapshots: Cell<SidecarSnapshot | null>;
  readonly ready: Cell<boolean>;
  readonly desk: OpenDesk;
  readonly clock: Clock;
}

/** Ready: configured and connected, or known to be neither for a while. */
async function readyInTime({ snapshots, ready, desk, clock }: Readiness, signal: AbortSignal): Promise<void> {
  const configured = snapshots.value === null ? snapshots.next(signal) : Promise.resolve();
  const connected = configured.then(() => desk.prepare(signal));
  await Promise.race([connected, clock.sleep(READY_AFTER_MS, signal)]).catch(() => undefined);
  if (!signal.aborted) ready.set(true);
}

async function gaugeGeneration(
  snapshots: Cell<SidecarSnapshot | null>,
  metrics: SidecarMetrics,
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    metrics.snapshotGeneration.set(snapshots.value?.revision.generation ?? 0);
    await snapshots.next(signal).catch(() => undefined);
  }
}

function say(text: string): number {
  process.stdout.write(text);
  return 0;
}

function complain(text: string): number {
  process.stderr.write(`glmquota sidecar: ${text}\n`);
  return 2;
}

// The image's launcher leaves the name of the role in front.
const [first, ...rest] = process.argv.slice(2);
process.exit(await main(first === 'sidecar' ? rest : process.argv.slice(2)));
