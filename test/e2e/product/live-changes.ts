/** Specs changed by kubectl apply act on pods that run, without a restart. */
import { beforeAll, expect, test } from 'vitest';
import { waitFor } from '#test/cluster/wait.ts';
import { type Agent, type Answer, callOf, callsOf, startAgent } from '#test/support/agents.ts';
import {
  apply,
  createTenant,
  getJson,
  type Platform,
  quotaObject,
  type Tenant,
  vendorCount,
} from '#test/support/platform.ts';

interface Status {
  readonly status: {
    readonly blockedBy?: string;
    readonly conditions: readonly { readonly type: string; readonly status: string; readonly reason: string }[];
  };
}

export function liveChanges(platform: () => Platform): void {
  let tenant: Tenant;
  let agent: Agent;
  let sidecarStart: string;

  const setTeam = (spec: Readonly<Record<string, unknown>>): Promise<void> =>
    apply(platform(), quotaObject(tenant.name, 'team', { accountRef: { name: 'main' }, ...spec }));

  const until = async (what: string, isThere: (answer: Answer) => boolean): Promise<Answer> => {
    const started = performance.now();
    const answer = await waitFor(what, async () => {
      const each = await callOf(platform(), agent);
      return isThere(each) && each;
    });
    console.log(`${what}: ${((performance.now() - started) / 1000).toFixed(1)} s after kubectl apply`);
    return answer;
  };

  const startOfSidecar = (): Promise<string> => {
    const path = 'jsonpath={.status.initContainerStatuses[0].state.running.startedAt}/{.metadata.uid}';
    return platform().cluster.kubectl(['get', 'pod', agent.pod, '-n', agent.namespace, '-o', path]);
  };

  beforeAll(async () => {
    tenant = await createTenant(platform(), 'living', { quota: { limits: [{ name: 'five-hour', amount: 3 }] } });
    agent = await startAgent(platform(), tenant, 'agent');
    sidecarStart = await startOfSidecar();
  });

  test('a used-up window refuses with node, limit and the time to come back, and the vendor hears nothing of it', async () => {
    const answers = await callsOf(platform(), agent, 5);
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 429, 429]);
    const refusal = answers[4];
    expect(refusal?.deniedBy).toBe('quota:living/team/five-hour');
    const backInMs = Date.parse(refusal?.retryAt ?? '') - Date.now();
    expect(backInMs).toBeGreaterThan(0);
    expect(backInMs).toBeLessThan(3_700_000);
    expect(await vendorCount(platform(), tenant)).toEqual({ accepted: 3, refused: 0 });
  });

  test('a raised limit lets calls flow in the same window', async () => {
    await setTeam({ limits: [{ name: 'five-hour', amount: 1000 }] });
    expect(await until('the raised limit', ({ status }) => status === 200)).toMatchObject({ deniedBy: null });
  });

  test('a hold refuses every call, and status says so', async () => {
    await setTeam({ limits: [{ name: 'five-hour', amount: 1000 }], stop: { policy: 'Hold' } });
    const refusal = await until('the hold', ({ status }) => status === 429);
    expect(refusal.deniedBy).toBe('quota:living/team/stop');
    const { status } = await waitFor('the status', async () => {
      const quota = await getJson<Status>(platform(), 'glmq', 'team', '-n', tenant.name);
      return quota.status.blockedBy !== undefined && quota;
    });
    expect(status.blockedBy).toBe('quota:living/team/stop');
    expect(status.conditions.find(({ type }) => type === 'Active')).toMatchObject({
      status: 'False',
      reason: 'Stopped',
    });
  });

  test('without the hold calls flow again, on the same pod and sidecar', async () => {
    await setTeam({ limits: [{ name: 'five-hour', amount: 1000 }] });
    await until('the end of the hold', ({ status }) => status === 200);
    expect(await startOfSidecar()).toBe(sidecarStart);
  });

  test('a new vendor key in the Secret is used by the next calls', async () => {
    const { key, name } = tenant;
    const rotated = `${name}-key.rotated-secret`;
    await platform().vendor.control.patchAccount(name, { keys: [key, rotated] });
    const patch = JSON.stringify({ stringData: { apiKey: rotated } });
    await platform().cluster.kubectl(['patch', 'secret', 'glm-key', '-n', name, '-p', patch]);
    await waitFor('a call with the new key', async () => {
      expect(await callOf(platform(), agent)).toMatchObject({ status: 200 });
      return (await platform().vendor.control.calls({ key: rotated })).length > 0;
    });
  });

  test('a withdrawn grant ends the service to pods that run', async () => {
    await setTeam({ consumers: { from: 'Same', serviceAccounts: ['somebody-else'] } });
    const refusal = await until('the withdrawal', ({ status }) => status !== 200);
    expect(refusal.status).toBe(403);
    expect(refusal.body).toContain(
      'QuotaNotGranted: GLMQuota living/team does not admit service account living/default',
    );
  });
}
