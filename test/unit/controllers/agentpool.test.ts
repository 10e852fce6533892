import { expect, test } from 'vitest';
import { type AgentPool, parseAgentPool } from '#operator/api/v1alpha1/agentpool.ts';
import { type PoolFacts, planDeployment, planPoolStatus } from '#operator/controllers/agentpool/plan.ts';
import { poolLabel } from '#operator/trees/names.ts';

function pool(change: Record<string, unknown> = {}, name = 'reviewers'): AgentPool {
  const parsed = parseAgentPool({
    apiVersion: 'glmquota.io/v1alpha1',
    kind: 'AgentPool',
    metadata: { namespace: 'team', name, uid: 'pool-uid' },
    spec: {
      quotaRef: { name: 'team-a', namespace: 'glm' },
      template: {
        metadata: { labels: { app: 'agent' }, annotations: { note: 'mine' } },
        spec: {
          containers: [
            { name: 'agent', image: 'agent:1' },
            { name: 'small', image: 'small:1', resources: { limits: { memory: '64Mi' }, requests: { cpu: '10m' } } },
            { name: 'capped', image: 'capped:1', resources: { limits: { cpu: '1' } } },
          ],
        },
      },
      replicas: 3,
      perAgent: { concurrency: 2, memory: '1Gi' },
      ...change,
    },
  });
  if (!parsed.ok) throw new Error(JSON.stringify(parsed.problems));
  return parsed.value;
}

interface Deployment {
  metadata: { name: string; ownerReferences: unknown[] };
  spec: {
    replicas: number;
    selector: { matchLabels: Record<string, string> };
    template: {
      metadata: { labels: Record<string, string>; annotations: Record<string, string> };
      spec: { containers: { name: string; resources: unknown }[] };
    };
  };
}

const deploymentOf = (from: AgentPool): Deployment => planDeployment(from) as unknown as Deployment;

test('the pods are labelled for the injector and annotated with their binding', () => {
  const { metadata } = deploymentOf(pool()).spec.template;
  expect(metadata.labels).toEqual({ app: 'agent', 'glmquota.io/pool': 'reviewers', 'glmquota.io/inject': 'true' });
  expect(metadata.annotations).toEqual({
    note: 'mine',
    'glmquota.io/quota': 'glm/team-a',
    'glmquota.io/concurrency': '2',
  });
});

test('a quota without a namespace is one of the pool’s own', () => {
  const { metadata } = deploymentOf(pool({ quotaRef: { name: 'team-a' } })).spec.template;
  expect(metadata.annotations['glmquota.io/quota']).toBe('team/team-a');
});

test('only containers without a memory limit get the default one', () => {
  const { containers } = deploymentOf(pool()).spec.template.spec;
  expect(containers.map(({ resources }) => resources)).toEqual([
    { limits: { memory: '1Gi' }, requests: { memory: '256Mi' } },
    { limits: { memory: '64Mi' }, requests: { cpu: '10m' } },
    { limits: { cpu: '1', memory: '1Gi' }, requests: { memory: '256Mi' } },
  ]);
});

test('the default limit reserves little, and never more than itself', () => {
  const resourcesOf = (memory: string, requests?: object): unknown => {
    const resources = requests === undefined ? {} : { resources: { requests } };
    const template = { spec: { containers: [{ name: 'agent', image: 'agent:1', ...resources }] } };
    const perAgent = { concurrency: 1, memory };
    return deploymentOf(pool({ template, perAgent })).spec.template.spec.containers[0]?.resources;
  };
  expect(resourcesOf('200M')).toEqual({ limits: { memory: '200M' } });
  expect(resourcesOf('300M')).toEqual({ limits: { memory: '300M' }, requests: { memory: '256Mi' } });
  expect(resourcesOf('4Gi', { memory: '2Gi' })).toEqual({ limits: { memory: '4Gi' }, requests: { memory: '2Gi' } });
});

test('the Deployment belongs to the pool and selects exactly its pods', () => {
  const { metadata, spec } = deploymentOf(pool());
  expect(spec.replicas).toBe(3);
  expect(spec.selector.matchLabels).toEqual({ 'glmquota.io/pool': 'reviewers' });
  expect(metadata.ownerReferences).toMatchObject([{ kind: 'AgentPool', uid: 'pool-uid', controller: true }]);
});

test('names too long for a label get distinct stand-ins', () => {
  const [a, b] = [poolLabel(`${'x'.repeat(100)}a`), poolLabel(`${'x'.repeat(100)}b`)];
  expect(a).not.toBe(b);
  expect(Math.max(a.length, b.length)).toBeLessThanOrEqual(63);
});

const facts: PoolFacts = {
  name: 'reviewers',
  generation: 2,
  wantedReplicas: 3,
  deployment: { replicas: 3, readyReplicas: 3, isObserved: true },
  fault: null,
  conditions: [],
};

const readyOf = (change: Partial<PoolFacts>): string => {
  const [ready] = planPoolStatus({ ...facts, ...change }, 0).conditions;
  return `${ready?.status} ${ready?.reason}`;
};

test('a pool is ready when all its pods are and the latest spec was seen', () => {
  expect(readyOf({})).toBe('True PodsReady');
  expect(readyOf({ deployment: { replicas: 3, readyReplicas: 2, isObserved: true } })).toBe('False PodsNotReady');
  expect(readyOf({ deployment: { replicas: 3, readyReplicas: 3, isObserved: false } })).toBe('False PodsNotReady');
  expect(readyOf({ deployment: null })).toBe('False PodsNotReady');
  expect(readyOf({ fault: { reason: 'QuotaNotGranted', message: 'no' } })).toBe('False QuotaNotGranted');
});

test('the status carries what /scale needs', () => {
  expect(planPoolStatus(facts, 0)).toMatchObject({
    replicas: 3,
    readyReplicas: 3,
    selector: 'glmquota.io/pool=reviewers',
  });
});
