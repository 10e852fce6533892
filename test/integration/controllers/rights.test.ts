import { isDeepStrictEqual } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ANNOTATION_ROTATE } from '#operator/api/v1alpha1/labels.ts';
import { treeKeyOf } from '#operator/trees/names.ts';
import { configKey, TREE_FIELD } from '#sidecar/engine/keys.ts';
import { awaitRedisCredentials } from '#operator/redis-link.ts';
import { ensureAuthority } from '#operator/certificates/authority.ts';
import {
  AGENT_POOLS,
  DEPLOYMENTS,
  GLM_ACCOUNTS,
  GLM_CATALOGS,
  GLM_QUOTAS,
  SECRETS,
} from '#operator/controllers/world/kinds.ts';
import { KubeClient } from '#operator/runtime/client.ts';
import { Connection } from '#operator/runtime/connection.ts';
import { systemClock } from '#sidecar/base/clock.ts';
import { createLog } from '#sidecar/base/log.ts';
import { renderChart } from '#test/support/chart.ts';
import { until } from '../../unit/runtime/await-until.ts';
import { kubeConfigOf, openRedis, Stand } from './stand.ts';

const namespace = 'glmquota';
const account = { namespace: 'glm', name: 'max' };
const quota = { namespace: 'glm', name: 'team' };
const pool = { namespace: 'glm', name: 'agents' };

let stand: Stand;
const open = new AsyncDisposableStack();

beforeAll(async () => {
  stand = open.use(await Stand.start());
  for (const name of [namespace, 'glm']) await stand.namespace(name);
  await stand.server.kubectl(
    ['apply', '-n', namespace, '-f', '-'],
    await renderChart({ templates: ['rbac.yaml'], namespace }),
  );
  await stand.credential('glm', 'key', { apiKey: 'vendor-key-0001' });
  await stand.account(account);
  await stand.quota(quota, { accountRef: account });
}, 600_000);

afterAll(() => open.disposeAsync());

test('the controller does all its work with the rights of the chart', async () => {
  const kubeconfig = await stand.server.kubeconfigFor(`system:serviceaccount:${namespace}:glmquota-controller`);
  open.use(stand.startController('controller-0', {}, { kubeconfig, namespace }));
  expect(await stand.eventually(GLM_CATALOGS, { name: 'default' }, 'Ready', 'True CatalogUsable')).toContain('True');
  expect(await stand.eventually(GLM_QUOTAS, quota, 'Ready', 'True QuotaActive')).toBe('True QuotaActive');
  const containers = [{ name: 'agent', image: 'agent:1' }];
  await stand.pool(pool, { quotaRef: { name: 'team' }, template: { spec: { containers } } });
  await until(async () => (await stand.client.get(DEPLOYMENTS, pool)) !== null, 'the Deployment');
  expect(await stand.eventually(AGENT_POOLS, pool, 'Ready', 'False PodsNotReady')).toBe('False PodsNotReady');
  const events = { group: 'events.k8s.io', version: 'v1', plural: 'events', kind: 'Event', namespaced: true };
  await stand.quota(quota, { accountRef: account, stop: { policy: 'Hold' } });
  await until(async () => (await stand.client.list(events, { namespace: 'glm' })).items.length > 0, 'an Event');
});

test('W5 a configuration that was tampered with is repaired, and its account gets another Redis password', async () => {
  const link = openRedis(stand.redis.url);
  open.defer(() => link.disconnect());
  const tree = async () => stand.engine.config(treeKeyOf(account));
  const before = await tree();
  await link.hset(configKey(treeKeyOf(account)), TREE_FIELD, '{}');
  const rotation = async () =>
    (await stand.client.get(GLM_ACCOUNTS, account))?.metadata.annotations?.[ANNOTATION_ROTATE];
  expect(await rotation()).toBeUndefined();
  await until(async () => (await rotation()) !== undefined, 'the rotation');
  await until(async () => isDeepStrictEqual(await tree().catch(() => null), before), 'the repair');
});

test.each(['controller', 'edge'])(
  'the role %s may make and read the Secrets it needs, in its own namespace',
  async (role) => {
    const user = `system:serviceaccount:${namespace}:glmquota-${role}`;
    const clock = systemClock;
    const log = createLog('silent');
    const connection = open.use(new Connection(kubeConfigOf(await stand.server.kubeconfigFor(user)), clock));
    const client = new KubeClient({ connection, clock, log, userAgent: 'rights-test/1' });
    const signal = AbortSignal.timeout(30_000);
    const authority = await ensureAuthority({ client, namespace, name: 'glmquota-authority', signal }, clock);
    expect(authority.certPem).toContain('BEGIN CERTIFICATE');
    const data = Object.fromEntries(
      ['operator-username', 'operator-password', 'sidecar-username', 'sidecar-password'].map((name) => [name, name]),
    );
    await stand.credential(namespace, 'redis', data, 'Opaque');
    const credentials = await awaitRedisCredentials({ client, namespace, name: 'redis', clock, log }, signal);
    expect(credentials.operator.username).toBe('operator-username');
    const elsewhere = { apiVersion: 'v1', kind: 'Secret', metadata: { namespace: 'glm', name: 'x' } };
    await expect(client.create(SECRETS, elsewhere)).rejects.toMatchObject({ code: 'forbidden' });
  },
);
