import { describe, expect, test } from 'vitest';
import { parseAgentPool } from '#operator/api/v1alpha1/agentpool.ts';
import { parseGlmAccount } from '#operator/api/v1alpha1/glmaccount.ts';
import { parseGlmQuota } from '#operator/api/v1alpha1/glmquota.ts';

const object = (kind: string, spec: unknown) => ({
  apiVersion: 'glmquota.io/v1alpha1',
  kind,
  metadata: { name: 'x', namespace: 'glm' },
  spec,
});
const SAME = { from: 'Same', selector: null };
const CHILDREN = { ...SAME, maxWeight: 10 };
const AS_ABOVE = { mode: null, maxWaitMs: null, maxLength: null };

describe('what a spec leaves out', () => {
  test('of an account means the documented defaults', () => {
    const spec = { billing: 'CodingPlan', region: 'China', credentialSecretRef: { name: 'key' } };
    expect(parseGlmAccount(object('GLMAccount', spec))).toMatchObject({
      ok: true,
      value: {
        spec: {
          plan: null,
          keyDelivery: { mode: 'Sidecar', namespaces: SAME },
          currency: 'USD',
          concurrency: { mode: 'Adaptive', min: 1, max: 10, start: 1 },
          modelConcurrency: [],
          rate: null,
          limits: [],
          waiting: AS_ABOVE,
          retry: { maxAttempts: 4, baseDelayMs: 1000, factorPermille: 2000, maxDelayMs: 30_000 },
          breaker: { failureRatePercent: 50, minimumCalls: 10, openForMs: 30_000 },
          onStoreFailure: { policy: 'Closed', localSharePercent: 50, maxDurationMs: 300_000 },
          durability: 'Async',
          children: CHILDREN,
          stop: null,
          schedules: [],
          alerts: null,
          catalogRef: { name: 'default' },
        },
      },
    });
  });

  test('of a quota means no limit of its own and its own namespace', () => {
    expect(parseGlmQuota(object('GLMQuota', { accountRef: { name: 'a' } }))).toMatchObject({
      value: {
        spec: {
          parent: { kind: 'account', name: 'a', namespace: null },
          match: null,
          concurrency: null,
          rate: null,
          limits: [],
          perCall: [],
          maxRuntimeMs: null,
          weight: 1,
          priority: { default: 'Normal', max: 'High' },
          waiting: AS_ABOVE,
          enforcement: 'Enforce',
          consumers: { ...SAME, serviceAccounts: [] },
          children: CHILDREN,
          stop: null,
          schedules: [],
          alerts: null,
        },
      },
    });
  });

  test('of a pool means one agent, one call at a time, 4Gi', () => {
    const spec = { quotaRef: { name: 'q' }, template: { spec: { containers: [{ name: 'agent' }] } } };
    expect(parseAgentPool(object('AgentPool', spec))).toMatchObject({
      value: {
        spec: {
          replicas: 1,
          perAgent: { concurrency: 1, memory: '4Gi' },
          template: { metadata: { labels: {}, annotations: {} } },
        },
      },
    });
  });
});

test('all problems of an object are reported at once, each with its path', () => {
  const parsed = parseGlmQuota(
    object('GLMQuota', {
      accountRef: { name: 'a' },
      limits: [{ name: 'Bad Name', amount: -1, window: { type: 'Sliding', duration: '0s' }, resource: 'Coffee' }],
      colour: 'red',
    }),
  );
  const paths = parsed.ok ? [] : parsed.problems.map(({ path }) => path);
  expect(new Set(paths)).toEqual(
    new Set([
      'spec.limits[0].name',
      'spec.limits[0].resource',
      'spec.limits[0].amount',
      'spec.limits[0].window.duration',
      'spec.colour',
    ]),
  );
});

test('a pod template passes through untouched', () => {
  const podSpec = { containers: [{ name: 'agent', env: [{ name: 'A', value: 'b' }] }], nodeSelector: { disk: 'fast' } };
  const parsed = parseAgentPool(object('AgentPool', { quotaRef: { name: 'q' }, template: { spec: podSpec } }));
  expect(parsed.ok && parsed.value.spec.template.spec).toEqual(podSpec);
});
