import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { treeKeyOf } from '#operator/trees/names.ts';
import { treeUser } from '#sidecar/engine/acl.ts';
import { createAdminEngine } from '#sidecar/engine/client.ts';
import { startRedis, type TestRedis } from '#test/support/redis.ts';
import { until } from '../../unit/runtime/await-until.ts';
import { openRedis, Stand } from './stand.ts';

/** The roles' own ports: nothing else on this machine may use them while this file runs. */
const HEALTH = 'http://127.0.0.1:8081';
const namespace = 'glmquota-system';
const PASSWORD = 'a-password-of-the-operator';
const INJECTORS = {
  group: 'admissionregistration.k8s.io',
  version: 'v1',
  plural: 'mutatingwebhookconfigurations',
  kind: 'MutatingWebhookConfiguration',
  namespaced: false,
};

let stand: Stand;
let redis: TestRedis;
const processes = new Set<ChildProcess>();

beforeAll(async () => {
  stand = await Stand.start();
  redis = await startRedis({ users: { operator: `on >${PASSWORD} ~* &* +@all` } });
  for (const name of [namespace, 'glm']) await stand.namespace(name);
}, 600_000);

afterAll(async () => {
  for (const child of processes) child.kill('SIGKILL');
  await redis?.[Symbol.asyncDispose]();
  await stand?.[Symbol.asyncDispose]();
});

function startRole(role: string, more: Record<string, string> = {}): ChildProcess {
  const child = spawn(process.execPath, [join(import.meta.dirname, '../../../operator/main.ts'), role], {
    stdio: ['ignore', 'ignore', 'inherit'],
    env: {
      PATH: process.env['PATH'],
      KUBECONFIG: stand.server.kubeconfigPath,
      GLMQUOTA_NAMESPACE: namespace,
      GLMQUOTA_POD_NAME: `${role}-0`,
      GLMQUOTA_REDIS_URL: redis.url,
      GLMQUOTA_REDIS_SECRET: 'redis',
      ...more,
    },
  });
  processes.add(child);
  child.once('exit', () => processes.delete(child));
  return child;
}

async function probe(path: string): Promise<number> {
  return fetch(`${HEALTH}${path}`).then(
    (reply) => reply.status,
    () => 0,
  );
}

async function end(child: ChildProcess): Promise<unknown> {
  const exited = once(child, 'exit');
  child.kill('SIGTERM');
  return exited;
}

test('a controller waits for the credentials of Redis, then brings trees there and ends as asked', async () => {
  const controller = startRole('controller');
  await stand.credential('glm', 'key', { apiKey: 'vendor-key-0001' });
  await stand.account({ namespace: 'glm', name: 'max' });
  const data = {
    'operator-username': 'operator',
    'operator-password': PASSWORD,
    'tree-users-key': 'the-key-of-all-users',
  };
  await stand.credential(namespace, 'redis', data, 'Opaque');
  await until(async () => (await probe('/readyz')) === 200, 'the controller is ready');
  const link = openRedis(redis.url.replace('redis://', `redis://operator:${PASSWORD}@`));
  const engine = createAdminEngine({ redis: link });
  const key = treeKeyOf({ namespace: 'glm', name: 'max' });
  await until(async () => (await engine.snapshot(key).catch(() => null)) !== null, 'the tree is in Redis');
  const user = treeUser(key);
  await until(async () => (await link.call('ACL', 'GETUSER', user)) !== null, "the tree's user is in Redis");
  link.disconnect();
  const metrics = await (await fetch(`${HEALTH}/metrics`)).text();
  expect(metrics).toContain('leader_election_master_status{name="glmquota-controller"} 1');
  expect(await end(controller)).toEqual([0, null]);
});

test('edge is ready and trusted by the API server while Redis is away', async () => {
  await redis.kill();
  const webhook = {
    name: 'pod.injector.glmquota.io',
    admissionReviewVersions: ['v1'],
    sideEffects: 'None',
    clientConfig: { service: { name: 'glmquota-edge', namespace, path: '/inject' } },
    namespaceSelector: { matchLabels: { nowhere: 'true' } },
    rules: [{ apiGroups: [''], apiVersions: ['v1'], operations: ['CREATE'], resources: ['pods'] }],
  };
  const name = 'glmquota-injector';
  await stand.client.create(INJECTORS, {
    apiVersion: 'admissionregistration.k8s.io/v1',
    kind: INJECTORS.kind,
    metadata: { name },
    webhooks: [webhook],
  });
  const edge = startRole('edge', { GLMQUOTA_SIDECAR_IMAGE: 'glmquota@sha256:0' });
  await until(async () => (await probe('/readyz')) === 200, 'edge is ready');
  const bundle = async (): Promise<string | undefined> => {
    const found = await stand.client.get(INJECTORS, { name });
    const webhooks = (found?.['webhooks'] ?? []) as { clientConfig: { caBundle?: string } }[];
    return webhooks[0]?.clientConfig.caBundle;
  };
  await until(async () => (await bundle()) !== undefined, 'the configuration trusts the authority');
  expect(Buffer.from((await bundle()) ?? '', 'base64').toString()).toContain('BEGIN CERTIFICATE');
  expect(await end(edge)).toEqual([0, null]);
});

test('a wrong configuration ends with all its problems and code 2', async () => {
  const child = startRole('edge', { GLMQUOTA_REDIS_URL: 'redis://elsewhere:6379' });
  expect(await once(child, 'exit')).toEqual([2, null]);
});
