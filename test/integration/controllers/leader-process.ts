/** A controller in a process of its own, to be killed and paused: `node leader-process.ts <kubeconfig> <redis url> <name>`. */
import { KubeConfig } from '@kubernetes/client-node';
import { systemClock } from '#sidecar/base/clock.ts';
import { createLog } from '#sidecar/base/log.ts';
import { createRegistry } from '#sidecar/base/metrics.ts';
import { readShippedCatalog } from '#operator/controllers/glmcatalog/shipped.ts';
import { runControllerRole } from '#operator/controller-role.ts';
import { linkRedis } from '#operator/redis-link.ts';
import { Connection } from '#operator/runtime/connection.ts';

const [kubeconfig = '', redisUrl = '', podName = ''] = process.argv.slice(2);
const config = new KubeConfig();
config.loadFromFile(kubeconfig);
const log = createLog('info');
const nobody = { username: '', password: '' };
const link = linkRedis(
  redisUrl,
  { operator: nobody, sidecars: { kind: 'shared', ...nobody }, sentinel: null, caPem: '' },
  { clock: systemClock, log },
);
const stop = new AbortController();
process.on('SIGTERM', () => stop.abort());
await runControllerRole(
  {
    connection: new Connection(config, systemClock),
    leaseConnection: new Connection(config, systemClock),
    engine: link.engine,
    ping: async (signal) => link.ping(signal),
    redis: null,
    lease: { namespace: 'default', name: 'glmquota-controller' },
    checkpointPrefix: 'glmquota-checkpoint-',
    leaderTimings: { durationMs: 3000, renewDeadlineMs: 2000, retryMs: 300 },
    podName,
    userAgent: 'glmquota-test/1',
    allowedOrigins: [],
    shipped: readShippedCatalog(),
    health: { host: '127.0.0.1', port: 0 },
    clock: systemClock,
    log,
    registry: createRegistry(),
  },
  stop.signal,
).then(
  () => process.exit(0),
  () => process.exit(1),
);
