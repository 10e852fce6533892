/** Specs that the API server accepts and that cannot be in force: a condition says why, and what was good stays. */
import { readdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { waitFor } from '#test/cluster/wait.ts';
import { type Agent, callOf, callsOf, startAgent } from '#test/support/agents.ts';
import { apply, createTenant, getJson, namespaceObject, type Platform, type Tenant } from '#test/support/platform.ts';
import { BAD, ELSEWHERE, key, NS, quota } from './bad-specs.ts';

interface Condition {
  readonly type: string;
  readonly status: string;
  readonly reason: string;
  readonly message: string;
  readonly observedGeneration: number;
}

interface WithConditions {
  readonly metadata: { readonly generation: number };
  readonly status?: { readonly conditions?: readonly Condition[] };
}

/** The condition about the spec as it is now. */
async function conditionOf(
  platform: Platform,
  kind: string,
  name: string,
  namespace: string,
  type = 'Ready',
): Promise<Condition> {
  return waitFor(
    `condition ${type} of ${kind} ${namespace}/${name}`,
    async () => {
      const { metadata, status } = await getJson<WithConditions>(platform, kind, name, '-n', namespace);
      const found = status?.conditions?.find((each) => each.type === type);
      return found?.observedGeneration === metadata.generation ? found : undefined;
    },
    { intervalMs: 200 },
  );
}

/** Of the valid examples, in the namespaces they name, with the labels their selectors ask for. */
const EXAMPLES: readonly (readonly [kind: string, name: string, namespace: string, reason: string])[] = [
  ['glma', 'max', 'glm', 'QuotaActive'],
  ['glma', 'payg', 'glm', 'CredentialMissing'],
  ['glma', 'proxied', 'glm', 'CredentialMissing'],
  ['glmq', 'team-a', 'team-a', 'QuotaActive'],
  // Its parent admits quotas of other namespaces only.
  ['glmq', 'reviewers', 'team-a', 'ParentNotGranted'],
  ['glmq', 'everyone', 'glm', 'QuotaActive'],
  ['glmc', 'negotiated', 'glm', 'CatalogUsable'],
  ['glmc', 'complete', 'glm', 'CatalogUsable'],
  ['ap', 'writers', 'team-a', 'PodsReady'],
  ['ap', 'reviewers', 'team-a', 'QuotaNotReady'],
];

export function specs(platform: () => Platform): void {
  let tenant: Tenant;
  let agent: Agent;

  const quotaWith = (spec: Readonly<Record<string, unknown>>): Promise<void> =>
    apply(platform(), quota('team', { accountRef: { name: 'main' }, ...spec }));

  beforeAll(async () => {
    tenant = await createTenant(platform(), NS);
    await apply(platform(), namespaceObject(ELSEWHERE));
    await apply(platform(), ...BAD.flatMap(({ objects }) => objects));
  });

  afterAll(async () => {
    const { cluster } = platform();
    await cluster.kubectl(['delete', 'glm', '--all', '-n', 'team-a', '--ignore-not-found', '--wait=false']);
  });

  test.each(BAD)(
    '$what becomes the condition $reason that says what to do',
    async ({ kind, name, namespace, reason, says }) => {
      const ready = await conditionOf(platform(), kind, name, namespace ?? NS);
      expect(ready).toMatchObject({ status: 'False', reason });
      expect(ready.message).toContain(says);
      expect(await conditionOf(platform(), kind, name, namespace ?? NS, 'Active')).toMatchObject({ status: 'False' });
    },
  );

  test('the valid examples get the conditions they should, for a reader who knows nothing of us', async () => {
    const labels = { agents: 'glm', team: 'platform', tier: 'gold' };
    await apply(platform(), namespaceObject('glm', labels), namespaceObject('team-a', labels));
    const folder = resolve(import.meta.dirname, '../../../crds/examples/valid');
    const files = readdirSync(folder).flatMap((file) => ['-f', join(folder, file)]);
    await platform().cluster.kubectl(['apply', ...files]);
    const found = await Promise.all(
      EXAMPLES.map(async ([kind, name, namespace, expected]) => {
        const { reason } = await waitFor(
          `${kind} ${name} to be ${expected}`,
          async () => {
            const condition = await conditionOf(platform(), kind, name, namespace);
            return condition.reason === expected && condition;
          },
          { intervalMs: 500 },
        ).catch(() => conditionOf(platform(), kind, name, namespace));
        return [kind, name, namespace, reason];
      }),
    );
    expect(found).toEqual(EXAMPLES);
    console.log(await platform().cluster.kubectl(['get', 'glm', '-n', 'team-a']));
  });

  test('a good quota in force refuses what is above its limits', async () => {
    await quotaWith({ limits: [{ name: 'five-hour', amount: 3 }] });
    agent = await startAgent(platform(), tenant, 'agent');
    const refusal = await waitFor('the limit to be in force', async () => {
      const answer = await callOf(platform(), agent);
      return answer.status !== 200 && answer;
    });
    expect(refusal).toMatchObject({ status: 429, deniedBy: `quota:${NS}/team/five-hour` });
  });

  test.each([
    ['names an unknown parent', { accountRef: undefined, parentRef: { name: 'ghost' } }, 'ParentNotFound'],
    ['asks for a share of nothing', { limits: [{ name: 'yearly', amount: '10%' }] }, 'InvalidLimits'],
  ])('a quota that %s keeps its last good limits', async (_, spec, reason) => {
    await quotaWith({ limits: [{ name: 'five-hour', amount: 1000 }], ...spec });
    const ready = await conditionOf(platform(), 'glmq', 'team', NS);
    expect(ready).toMatchObject({ status: 'False', reason });
    expect(ready.message).toContain('its last good limits stay in force');
    expect(await callOf(platform(), agent)).toMatchObject({ status: 429, deniedBy: `quota:${NS}/team/five-hour` });
  });

  test('a restarted operator keeps the last good limits too', async () => {
    const { cluster } = platform();
    await cluster.kubectl(['rollout', 'restart', 'deployment/glmquota-controller', '-n', 'glmquota']);
    await cluster.kubectl(['rollout', 'status', 'deployment/glmquota-controller', '-n', 'glmquota', '--timeout=120s']);
    // Ready only when a leader has compiled the whole tree and put it into Redis.
    await apply(platform(), quota('later', { accountRef: { name: 'main' } }));
    await cluster.kubectl(['wait', 'glmq/later', '-n', NS, '--for=condition=Ready', '--timeout=60s']);
    const answer = await waitFor('the sidecar to hear of the new quota', async () => {
      const each = await callOf(platform(), agent);
      return each.status !== 503 && each;
    });
    expect(answer).toMatchObject({ status: 429, deniedBy: `quota:${NS}/team/five-hour` });
    expect(await conditionOf(platform(), 'glmq', 'team', NS)).toMatchObject({
      status: 'False',
      reason: 'InvalidLimits',
    });
  });

  test('a mended quota is in force again', async () => {
    await quotaWith({ limits: [{ name: 'five-hour', amount: 1000 }] });
    await platform().cluster.kubectl(['wait', 'glmq/team', '-n', NS, '--for=condition=Ready', '--timeout=60s']);
    const answers = await callsOf(platform(), agent, 5);
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 200, 200]);
  });

  test('a mended Secret makes its account Ready without another apply of the account', async () => {
    await apply(platform(), key('keyless'));
    await platform().cluster.kubectl(['wait', 'glma/keyless', '-n', NS, '--for=condition=Ready', '--timeout=60s']);
    expect(await conditionOf(platform(), 'glma', 'keyless', NS)).toMatchObject({ reason: 'QuotaActive' });
  });
}
