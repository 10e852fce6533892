import { afterAll, beforeAll, expect, test } from 'vitest';
import { AGENT_POOLS, DEPLOYMENTS } from '#operator/controllers/world/kinds.ts';
import { until } from '../../unit/runtime/await-until.ts';
import { Stand } from './stand.ts';

const account = { namespace: 'glm', name: 'max' };
const pool = { namespace: 'team', name: 'reviewers' };
const containers = [{ name: 'agent', image: 'agent:1' }];

let stand: Stand;
let controller: ReturnType<Stand['startController']>;

beforeAll(async () => {
  stand = await Stand.start({ controllerManager: true });
  for (const name of ['glm', 'team']) await stand.namespace(name);
  await stand.credential('glm', 'key', { apiKey: 'vendor-key-0001' });
  const all = { from: 'All' };
  await stand.account(account, { children: all, keyDelivery: { namespaces: all } });
  await stand.quota({ namespace: 'team', name: 'team-a' }, { accountRef: account });
  controller = stand.startController();
}, 600_000);

afterAll(async () => {
  await controller?.[Symbol.asyncDispose]();
  await stand?.[Symbol.asyncDispose]();
});

async function deployment(key = pool) {
  const found = await stand.client.get(DEPLOYMENTS, key);
  return found as unknown as {
    metadata: { uid: string; resourceVersion: string };
    spec: {
      replicas: number;
      template: { metadata: { labels: object; annotations: object }; spec: { containers: { image: string }[] } };
    };
  } | null;
}

test('a pool becomes a Deployment whose pods ask for the sidecar and name their quota', async () => {
  await stand.pool(pool, { quotaRef: { name: 'team-a' }, template: { spec: { containers } }, replicas: 2 });
  await until(async () => (await deployment()) !== null, 'the Deployment');
  const made = await deployment();
  expect(made?.spec.replicas).toBe(2);
  expect(made?.spec.template.metadata).toMatchObject({
    labels: { 'glmquota.io/inject': 'true', 'glmquota.io/pool': 'reviewers' },
    annotations: { 'glmquota.io/quota': 'team/team-a', 'glmquota.io/concurrency': '1' },
  });
  // Nobody runs pods here.
  expect(await stand.eventually(AGENT_POOLS, pool, 'Ready', 'False PodsNotReady')).toBe('False PodsNotReady');
  await until(async () => (await stand.status(AGENT_POOLS, pool))['replicas'] === 2, 'its pods are counted');
});

test('/scale shows selector and replicas, and sets the size', async () => {
  const scale = await stand.client.get(AGENT_POOLS, pool, { subresource: 'scale' });
  expect(scale?.['status']).toMatchObject({ selector: 'glmquota.io/pool=reviewers', replicas: 2 });
  await stand.client.patch(
    AGENT_POOLS,
    pool,
    { kind: 'merge', patch: { spec: { replicas: 3 } } },
    { subresource: 'scale' },
  );
  await until(async () => (await deployment())?.spec.replicas === 3, 'the Deployment follows');
  expect((await deployment())?.spec.replicas).toBe(3);
});

test('a Deployment scaled or deleted behind the pool is put right', async () => {
  await stand.client.patch(DEPLOYMENTS, pool, { kind: 'merge', patch: { spec: { replicas: 7 } } });
  await until(async () => (await deployment())?.spec.replicas === 3, 'scaled back');
  const before = (await deployment())?.metadata.uid;
  await stand.client.delete(DEPLOYMENTS, pool);
  await until(async () => ![undefined, before].includes((await deployment())?.metadata.uid), 'made anew');
  expect((await deployment())?.spec.replicas).toBe(3);
});

test('another quota is a rolling update', async () => {
  await stand.quota({ namespace: 'team', name: 'team-b' }, { accountRef: account });
  const spec = { quotaRef: { name: 'team-b' }, template: { spec: { containers } }, replicas: 3 };
  await stand.pool(pool, spec);
  const annotation = async () => (await deployment())?.spec.template.metadata.annotations;
  await until(async () => JSON.stringify(await annotation()).includes('team/team-b'), 'the template names the new one');
  expect(await annotation()).toMatchObject({ 'glmquota.io/quota': 'team/team-b' });
});

test('a pool whose quota is not there, or not granted, says so and makes no Deployment', async () => {
  const lonely = { namespace: 'team', name: 'lonely' };
  await stand.pool(lonely, { quotaRef: { name: 'nobody' }, template: { spec: { containers } }, replicas: 1 });
  expect(await stand.eventually(AGENT_POOLS, lonely, 'Ready', 'False QuotaNotFound')).toBe('False QuotaNotFound');
  await stand.quota({ namespace: 'glm', name: 'private' }, { accountRef: account });
  const spec = { quotaRef: { name: 'private', namespace: 'glm' }, template: { spec: { containers } }, replicas: 1 };
  await stand.pool(lonely, spec);
  expect(await stand.eventually(AGENT_POOLS, lonely, 'Ready', 'False QuotaNotGranted')).toBe('False QuotaNotGranted');
  expect(await deployment(lonely)).toBeNull();
  // The grant comes: the Deployment follows without a change of the pool.
  await stand.quota({ namespace: 'glm', name: 'private' }, { accountRef: account, consumers: { from: 'All' } });
  await until(async () => (await deployment(lonely)) !== null, 'the Deployment');
});

test('a pool that lost its quota is scaled, but nothing new is rolled out until it has one again', async () => {
  const revoked = { namespace: 'team', name: 'revoked' };
  const quota = { namespace: 'glm', name: 'revocable' };
  const poolOf = (image: string, replicas: number) =>
    stand.pool(revoked, {
      quotaRef: { name: quota.name, namespace: quota.namespace },
      template: { spec: { containers: [{ name: 'agent', image }] } },
      replicas,
    });
  const image = async () => (await deployment(revoked))?.spec.template.spec.containers[0]?.image;
  await stand.quota(quota, { accountRef: account, consumers: { from: 'All' } });
  await poolOf('agent:1', 2);
  await until(async () => (await image()) === 'agent:1', 'the Deployment');

  await stand.quota(quota, { accountRef: account, consumers: { from: 'None' } });
  expect(await stand.eventually(AGENT_POOLS, revoked, 'Ready', 'False QuotaNotGranted')).toBe('False QuotaNotGranted');
  await poolOf('agent:2', 1);
  await until(async () => (await deployment(revoked))?.spec.replicas === 1, 'scaled');
  expect(await image()).toBe('agent:1');

  await stand.quota(quota, { accountRef: account, consumers: { from: 'All' } });
  await until(async () => (await image()) === 'agent:2', 'rolled out');
  expect((await deployment(revoked))?.spec.replicas).toBe(1);
});

test('a grant that comes with a label of the namespace is seen at once', async () => {
  const labelled = { namespace: 'later', name: 'labelled' };
  await stand.namespace('later');
  const consumers = { from: 'Selector', selector: { matchLabels: { tier: 'gold' } } };
  await stand.quota({ namespace: 'glm', name: 'gold' }, { accountRef: account, consumers });
  const quotaRef = { name: 'gold', namespace: 'glm' };
  await stand.pool(labelled, { quotaRef, template: { spec: { containers } }, replicas: 1 });
  expect(await stand.eventually(AGENT_POOLS, labelled, 'Ready', 'False QuotaNotGranted')).toBe('False QuotaNotGranted');
  await stand.namespace('later', { tier: 'gold' });
  await until(async () => (await deployment(labelled)) !== null, 'the Deployment');
  expect(await stand.eventually(AGENT_POOLS, labelled, 'Ready', 'False PodsNotReady')).toBe('False PodsNotReady');
});

test('a template the API server refuses is a condition that quotes it', async () => {
  const broken = { namespace: 'team', name: 'broken' };
  const template = { spec: { containers: [{ name: 'agent', image: 'agent:1', imgePullPolicy: 'Always' }] } };
  await stand.pool(broken, { quotaRef: { name: 'team-a' }, template, replicas: 1 });
  expect(await stand.eventually(AGENT_POOLS, broken, 'Ready', 'False ApplyFailed')).toBe('False ApplyFailed');
  const { conditions } = await stand.status(AGENT_POOLS, broken);
  expect(JSON.stringify(conditions)).toContain('imgePullPolicy');
  const containersWithoutImage = [{ name: 'agent' }];
  const spec = {
    quotaRef: { name: 'team-a' },
    template: { spec: { containers: containersWithoutImage } },
    replicas: 1,
  };
  await stand.pool({ ...broken, name: 'imageless' }, spec);
  const imageless = { ...broken, name: 'imageless' };
  expect(await stand.eventually(AGENT_POOLS, imageless, 'Ready', 'False InvalidTemplate')).toBe(
    'False InvalidTemplate',
  );
});

test('a Deployment of somebody else under the same name is left alone', async () => {
  const taken = { namespace: 'team', name: 'taken' };
  const labels = { app: 'theirs' };
  const template = { metadata: { labels }, spec: { containers } };
  const spec = { replicas: 0, selector: { matchLabels: labels }, template };
  await stand.client.create(DEPLOYMENTS, { apiVersion: 'apps/v1', kind: 'Deployment', metadata: taken, spec });
  const before = await deployment(taken);
  await stand.pool(taken, { quotaRef: { name: 'team-a' }, template: { spec: { containers } }, replicas: 1 });
  expect(await stand.eventually(AGENT_POOLS, taken, 'Ready', 'False ApplyFailed')).toBe('False ApplyFailed');
  expect((await deployment(taken))?.spec).toEqual(before?.spec);
});

test('a deleted pool takes its Deployment along', async () => {
  await stand.client.delete(AGENT_POOLS, pool);
  // The garbage collector looks for new kinds every half minute.
  await until(async () => (await deployment()) === null, 'the Deployment is gone', 90_000);
  expect(await deployment()).toBeNull();
}, 120_000);
