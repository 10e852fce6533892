import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { KubeConfig } from '@kubernetes/client-node';
import { Redis } from 'ioredis';
import { systemClock } from '#sidecar/base/clock.ts';
import { AppError } from '#sidecar/base/errors.ts';
import { createLog } from '#sidecar/base/log.ts';
import { createRegistry } from '#sidecar/base/metrics.ts';
import { createAdminEngine } from '#sidecar/engine/client.ts';
import type { AdminEngine } from '#sidecar/engine/port.ts';
import { serversOf } from '#sidecar/engine/servers.ts';
import type { TreeSnapshot } from '#sidecar/engine/terms.ts';
import { readShippedCatalog } from '#operator/controllers/glmcatalog/shipped.ts';
import { AGENT_POOLS, GLM_ACCOUNTS, GLM_CATALOGS, GLM_QUOTAS, SECRETS } from '#operator/controllers/world/kinds.ts';
import { runControllerRole } from '#operator/controller-role.ts';
import { type Condition, readConditions } from '#operator/runtime/conditions.ts';
import { KubeClient } from '#operator/runtime/client.ts';
import { Connection } from '#operator/runtime/connection.ts';
import type { LeaderTimings } from '#operator/runtime/leader.ts';
import type { KubeObject, ObjectKey, ResourceType } from '#operator/runtime/resources.ts';
import { treeKeyOf } from '#operator/trees/names.ts';
import { type ApiServer, type ApiServerOptions, startApiServer } from '#test/support/api-server.ts';
import { startRedis, type TestRedis } from '#test/support/redis.ts';
import { until } from '../../unit/runtime/await-until.ts';

export const FAST: LeaderTimings = { durationMs: 3000, renewDeadlineMs: 2000, retryMs: 300 };
const API_VERSION = 'glmquota.io/v1alpha1';

export function openRedis(url: string): Redis {
  const redis = new Redis(url, { maxRetriesPerRequest: 0, retryStrategy: () => 100 });
  // Refused connections are part of these tests; every call reports its own failure.
  redis.on('error', () => undefined);
  return redis;
}

export function kubeConfigOf(text: string): KubeConfig {
  const config = new KubeConfig();
  config.loadFromString(text);
  return config;
}

/** A real API server with our kinds, a real Redis, and hands to use both. */
export interface StartOptions {
  readonly kubeconfig?: string;
  readonly namespace?: string;
  readonly wrap?: (engine: AdminEngine) => AdminEngine;
  /** As `RedisKeeperOptions` has it; absent: the controller keeps nothing on Redis' servers. */
  readonly usersKey?: string | null;
}

export class Stand implements AsyncDisposable {
  readonly server: ApiServer;
  readonly redis: TestRedis;
  readonly client: KubeClient;
  readonly engine: AdminEngine;
  readonly #stack: AsyncDisposableStack;

  private constructor(parts: { server: ApiServer; redis: TestRedis; stack: AsyncDisposableStack }) {
    const { server, redis, stack } = parts;
    this.server = server;
    this.redis = redis;
    const clock = systemClock;
    const connection = stack.use(new Connection(kubeConfigOf(server.kubeconfig), clock));
    this.client = new KubeClient({ connection, clock, log: createLog('silent'), userAgent: 'controllers-test/1' });
    const link = openRedis(redis.url);
    stack.defer(() => link.disconnect());
    this.engine = createAdminEngine({ redis: link });
    this.#stack = stack;
  }

  static async start(options: ApiServerOptions = {}): Promise<Stand> {
    const stack = new AsyncDisposableStack();
    const server = stack.use(await startApiServer(options));
    const redis = stack.use(await startRedis());
    const folder = join(import.meta.dirname, '../../../crds');
    const files = (await readdir(folder)).filter((file) => file.endsWith('.yaml'));
    await server.kubectl(['apply', ...files.flatMap((file) => ['-f', join(folder, file)])]);
    await server.kubectl([
      'wait',
      '--for=condition=Established',
      '--timeout=30s',
      ...files.map((file) => `crd/${file.replace('.yaml', '.glmquota.io')}`),
    ]);
    return new Stand({ server, redis, stack });
  }

  /** Runs the role `controller` inside this process until the returned handle is disposed of. */
  startController(
    name = 'controller-0',
    leaderTimings: Partial<LeaderTimings> = FAST,
    {
      kubeconfig = this.server.kubeconfig,
      namespace = 'default',
      wrap = (engine: AdminEngine): AdminEngine => engine,
      usersKey,
    }: StartOptions = {},
  ): AsyncDisposable & { readonly ended: Promise<string> } {
    const stop = new AbortController();
    const clock = systemClock;
    const config = kubeConfigOf(kubeconfig);
    const connections = [new Connection(config, clock), new Connection(config, clock)] as const;
    const link = openRedis(this.redis.url);
    const ended = runControllerRole(
      {
        connection: connections[0],
        leaseConnection: connections[1],
        engine: wrap(createAdminEngine({ redis: link })),
        redis: usersKey === undefined ? null : { servers: serversOf(link), usersKey },
        ping: async () => void (await link.ping()),
        lease: { namespace, name: 'glmquota-controller' },
        checkpointPrefix: 'glmquota-checkpoint-',
        leaderTimings,
        podName: name,
        userAgent: 'glmquota-test/1',
        allowedOrigins: ['https://allowed.example'],
        shipped: readShippedCatalog(),
        health: { host: '127.0.0.1', port: 0 },
        clock,
        log: createLog(process.env['TEST_LOG'] === '1' ? 'debug' : 'silent'),
        registry: createRegistry(),
      },
      stop.signal,
    ).then(
      () => 'stopped',
      (reason: unknown) => AppError.from(reason).message,
    );
    return {
      ended,
      [Symbol.asyncDispose]: async () => {
        stop.abort();
        await ended;
        for (const connection of connections) await connection[Symbol.asyncDispose]();
        link.disconnect();
      },
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }

  async namespace(name: string, labels: Record<string, string> = {}): Promise<void> {
    const type = { group: '', version: 'v1', plural: 'namespaces', kind: 'Namespace', namespaced: false };
    await this.#apply(type, { apiVersion: 'v1', kind: 'Namespace', metadata: { name, labels } });
  }

  async credential(
    namespace: string,
    name: string,
    data: Record<string, string>,
    type = 'glmquota.io/credential',
  ): Promise<void> {
    await this.#apply(SECRETS, {
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: { namespace, name },
      type,
      stringData: data,
    });
  }

  async account(key: Required<ObjectKey>, spec: Record<string, unknown> = {}): Promise<void> {
    const whole = {
      billing: 'CodingPlan',
      region: 'International',
      credentialSecretRef: { name: 'key' },
      waiting: { mode: 'Reject' },
      ...spec,
    };
    await this.#apply(GLM_ACCOUNTS, { apiVersion: API_VERSION, kind: 'GLMAccount', metadata: key, spec: whole });
  }

  async quota(
    key: Required<ObjectKey>,
    spec: Record<string, unknown>,
    annotations: Record<string, string> = {},
  ): Promise<void> {
    const metadata = { ...key, annotations };
    await this.#apply(GLM_QUOTAS, { apiVersion: API_VERSION, kind: 'GLMQuota', metadata, spec });
  }

  async pool(key: Required<ObjectKey>, spec: Record<string, unknown>): Promise<void> {
    await this.#apply(AGENT_POOLS, { apiVersion: API_VERSION, kind: 'AgentPool', metadata: key, spec });
  }

  async catalog(name: string, spec: Record<string, unknown>, annotations: Record<string, string> = {}): Promise<void> {
    await this.#apply(GLM_CATALOGS, {
      apiVersion: API_VERSION,
      kind: 'GLMCatalog',
      metadata: { name, annotations },
      spec,
    });
  }

  async tree(account: Required<ObjectKey>): Promise<TreeSnapshot | null> {
    return this.engine.snapshot(treeKeyOf(account)).catch(() => null);
  }

  /** `status reason` of a condition, empty while there is none for the current generation. */
  async condition(type: ResourceType, key: ObjectKey, name: string): Promise<string> {
    const object = await this.client.get(type, key);
    const found = readConditions(object?.['status']).find((each: Condition) => each.type === name);
    return found?.observedGeneration === object?.metadata.generation && found ? `${found.status} ${found.reason}` : '';
  }

  /** What the condition says in the end: `wanted`, or, after a while, whatever it says instead. */
  async eventually(type: ResourceType, key: ObjectKey, name: string, wanted: string): Promise<string> {
    let last = '';
    const reached = async (): Promise<boolean> => (last = await this.condition(type, key, name)) === wanted;
    await until(reached, `${name} of ${key.name}: ${wanted}`).catch(() => undefined);
    return last;
  }

  async status(type: ResourceType, key: ObjectKey): Promise<Record<string, unknown>> {
    const object: KubeObject | null = await this.client.get(type, key);
    return (object?.['status'] ?? {}) as Record<string, unknown>;
  }

  async #apply(type: ResourceType, object: Parameters<KubeClient['apply']>[1]): Promise<void> {
    await this.client.apply(type, object, { fieldManager: 'tester', force: true });
  }
}
