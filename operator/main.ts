/**
 * The operator's composition root: role and configuration → adapters → run until the signal → end in reverse.
 * Exit codes: 0 ended as asked, 1 failed or lost the leadership, 2 wrong arguments or configuration.
 */
import { KubeConfig } from '@kubernetes/client-node';
import { createCell } from '../sidecar/base/cell.ts';
import { type Clock, systemClock } from '../sidecar/base/clock.ts';
import { AppError } from '../sidecar/base/errors.ts';
import { createLog, type Log } from '../sidecar/base/log.ts';
import { createRegistry } from '../sidecar/base/metrics.ts';
import { ENGINE_VERSION } from '../sidecar/engine/library.ts';
import { ensureAuthority } from './certificates/authority.ts';
import { ensureRedisSecret, type RedisCredentials } from './certificates/redis-secret.ts';
import type { KeyPair } from './certificates/x509.ts';
import { type ControllerConfig, describeVariables, type EdgeConfig, readConfig, type Role, ROLES } from './config.ts';
import { runControllerRole } from './controller-role.ts';
import { readShippedCatalog } from './controllers/glmcatalog/shipped.ts';
import { EDGE_RESOURCES, runEdgeRole } from './edge-role.ts';
import type { RedisAccess } from './edge/terms.ts';
import { awaitRedisCredentials, LateEngine, linkRedis, sidecarSettings } from './redis-link.ts';
import { KubeClient } from './runtime/client.ts';
import { Connection } from './runtime/connection.ts';
import { createRuntimeMetrics } from './runtime/metrics.ts';

const VERSION = '0.1.0';
const MIN_SIDECAR_VERSION = '0.1.0';
const HOST = '0.0.0.0';
const PORTS = { health: 8081, webhook: 9443, control: 8443 } as const;
const RETRY_MS = 1000;

const HELP = `glmquota operator ${VERSION}: reconciles quotas and pools, configures and injects sidecars

Usage: node operator/main.ts <role> | --help | --version

Roles:
  controller  brings GLMAccounts and GLMQuotas into Redis and AgentPools into Deployments; one replica leads
  edge        serves sidecars their configuration (port ${PORTS.control}) and injects them (port ${PORTS.webhook}); all replicas serve

Both serve /healthz, /readyz and /metrics on port ${PORTS.health}.

Environment:
${describeVariables()}

The Kubernetes API is reached as KUBECONFIG says, else as the pod's service account.
Ends on SIGTERM or SIGINT. Exit codes: 0 ended as asked, 1 failed or lost the leadership, 2 wrong arguments or configuration.
`;

interface Base {
  readonly clock: Clock;
  readonly log: Log;
  readonly kube: KubeConfig;
  readonly userAgent: string;
  readonly signal: AbortSignal;
}

async function main(args: readonly string[]): Promise<number> {
  if (args.includes('--help')) return say(HELP);
  if (args.includes('--version')) return say(`${VERSION}\n`);
  const role = ROLES.find((each) => each === args[0]);
  if (role === undefined || args.length > 1) return complain(`expected one role of ${ROLES.join(', ')}; see --help`);
  let start: (signal: AbortSignal) => Promise<void>;
  let log: Log;
  try {
    const config = readConfig(role);
    log = createLog(config.logLevel);
    const base = { clock: systemClock, log, kube: loadKubeConfig(), userAgent: userAgentOf(role) };
    start = async (signal) =>
      config.role === 'controller' ? controller(config, { ...base, signal }) : edge(config, { ...base, signal });
  } catch (reason) {
    return complain(AppError.from(reason).message);
  }
  const stop = new AbortController();
  const onSignal = (signal: NodeJS.Signals): void => {
    log.info('operator.signal', { signal });
    stop.abort(new AppError('cancelled', `${signal} came`));
  };
  process.on('SIGTERM', onSignal);
  process.on('SIGINT', onSignal);
  try {
    await start(stop.signal);
    return 0;
  } catch (reason) {
    if (stop.signal.aborted && reason === stop.signal.reason) return 0;
    const error = AppError.from(reason);
    log.error('operator.failed', { code: error.code, cause: error.message });
    return 1;
  }
}

async function controller(config: ControllerConfig, base: Base): Promise<void> {
  const { clock, log, kube, userAgent, signal } = base;
  const { namespace, name, podName } = config;
  await using stack = new AsyncDisposableStack();
  const connection = stack.use(new Connection(kube, clock));
  const leaseConnection = stack.use(new Connection(kube, clock));
  const client = new KubeClient({ connection, clock, log, userAgent });
  const credentials = config.managesRedisSecret
    ? await ours(config, client, base)
    : await awaitRedisCredentials({ client, namespace, name: config.redisSecret, clock, log }, signal);
  const link = stack.use(linkRedis(config.redisUrl, credentials, base));
  await runControllerRole(
    {
      connection,
      leaseConnection,
      engine: link.engine,
      redis: { servers: link.servers, usersKey: usersKeyOf(credentials, log) },
      ping: async (each) => link.ping(each),
      lease: { namespace, name: `${name}-controller` },
      checkpointPrefix: `${name}-checkpoint-`,
      podName,
      userAgent,
      allowedOrigins: config.allowedOrigins,
      shipped: readShippedCatalog(),
      health: { host: HOST, port: PORTS.health },
      clock,
      log,
      registry: createRegistry(),
    },
    signal,
  );
}

/** The bundled Redis waits for its Secret, so it is made before anything else; every replica may be the one. */
async function ours(config: ControllerConfig, client: KubeClient, base: Base): Promise<RedisCredentials> {
  const { namespace, redisSecret, redisUrl } = config;
  const { clock, signal } = base;
  return untilDone('redis.secretFailed', base, async () => {
    const authority = await authorityOf(config, client, base);
    const host = new URL(redisUrl).hostname;
    const options = { authority, host, clock };
    return ensureRedisSecret({ client, namespace, name: redisSecret, signal }, options);
  });
}

/** Null: all sidecars share one user, as in the first release or where the operator may not make users. */
function usersKeyOf({ sidecars }: RedisCredentials, log: Log): string | null {
  if (sidecars.kind === 'perTree') return sidecars.key;
  log.warn('redis.sharedUser', { user: sidecars.username });
  return null;
}

async function edge(config: EdgeConfig, base: Base): Promise<void> {
  const { clock, log, kube, userAgent, signal } = base;
  const { namespace, name, redisUrl } = config;
  await using stack = new AsyncDisposableStack();
  const connection = stack.use(new Connection(kube, clock));
  const registry = createRegistry();
  const metrics = createRuntimeMetrics(registry, { controllers: [], resources: EDGE_RESOURCES, leases: [] });
  const client = new KubeClient({ connection, clock, log, userAgent, metrics });
  const authority = await untilDone('edge.authorityFailed', base, async () => authorityOf(config, client, base));
  const engine = new LateEngine();
  const redis = createCell<RedisAccess | null>(null);
  const place = { client, namespace, name: config.redisSecret, clock, log };
  // In the background: pods must be admitted, and readiness told, without Redis.
  const linking = awaitRedisCredentials(place, signal).then(
    (credentials) => {
      engine.attach(stack.use(linkRedis(redisUrl, credentials, base)));
      redis.set(sidecarSettings(redisUrl, credentials));
    },
    () => undefined,
  );
  const service = `${name}-edge.${namespace}.svc`;
  await runEdgeRole(
    {
      client,
      metrics,
      authority,
      dnsNames: [service, `${service}.cluster.local`],
      injectorConfiguration: `${name}-injector`,
      sidecar: { ...config.sidecar, controlAddress: `${service}:${PORTS.control}` },
      verifyPeerAddress: config.verifyPeerAddress,
      demands: { engineVersion: ENGINE_VERSION, minSidecarVersion: MIN_SIDECAR_VERSION },
      allowedOrigins: config.allowedOrigins,
      operatorNamespace: namespace,
      engine,
      redis,
      host: HOST,
      ports: PORTS,
      clock,
      log,
      registry,
    },
    signal,
  );
  await linking;
}

async function authorityOf(
  { namespace, name }: ControllerConfig | EdgeConfig,
  client: KubeClient,
  { clock, signal }: Base,
): Promise<KeyPair> {
  return ensureAuthority({ client, namespace, name: `${name}-authority`, signal }, clock);
}

/** Tries until it succeeds; fails only with what trying again cannot cure, or the signal's reason. */
async function untilDone<T>(event: string, { clock, log, signal }: Base, work: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await work();
    } catch (reason) {
      signal.throwIfAborted();
      const error = AppError.from(reason);
      if (error.code === 'invalid') throw error;
      log.warn(event, { code: error.code, cause: error.message });
    }
    await clock.sleep(RETRY_MS, signal);
  }
}

function loadKubeConfig(): KubeConfig {
  const kube = new KubeConfig();
  kube.loadFromDefault();
  return kube;
}

function userAgentOf(role: Role): string {
  return `glmquota-${role}/${VERSION}`;
}

function say(text: string): number {
  process.stdout.write(text);
  return 0;
}

function complain(text: string): number {
  process.stderr.write(`${text}\n`);
  return 2;
}

// At once: a leader that lost its lease must not linger over what is still open.
process.exit(await main(process.argv.slice(2)));
