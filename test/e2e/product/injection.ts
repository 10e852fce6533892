/** What holds at once after `helm install --wait`: pods get the sidecar first and their calls are counted. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { waitFor } from '#test/cluster/wait.ts';
import { AgentLogs } from '#test/demo/agent-log.ts';
import { agentContainer, agentPod, callOf, runInAgent, startAgent } from '#test/support/agents.ts';
import {
  apply,
  attempt,
  createTenant,
  getJson,
  type Manifest,
  type Platform,
  quotaObject,
  type Tenant,
  vendorCount,
  vendorOf,
} from '#test/support/platform.ts';

interface PodView {
  readonly metadata: { readonly annotations: Readonly<Record<string, string>> };
  readonly spec: {
    readonly initContainers: readonly {
      readonly name: string;
      readonly image: string;
      readonly restartPolicy: string;
    }[];
  };
  readonly status: {
    readonly initContainerStatuses: readonly { readonly state: { readonly running: { readonly startedAt: string } } }[];
    readonly containerStatuses: readonly { readonly state: { readonly running: { readonly startedAt: string } } }[];
  };
}

interface UsageView {
  readonly status: { readonly usage?: readonly { readonly limit: string; readonly used: string }[] };
}

export function injection(platform: () => Platform): void {
  let tenant: Tenant;

  test('a pod created right after the installation gets the sidecar first and runs', async () => {
    tenant = await createTenant(platform(), 'metered', {
      prompts: 20,
      quota: { limits: [{ name: 'five-hour', amount: '50%' }] },
    });
    const started = performance.now();
    await startAgent(platform(), tenant, 'agent');
    console.log(`injected pod Ready after ${((performance.now() - started) / 1000).toFixed(1)} s`);
    const pod = await getJson<PodView>(platform(), 'pod', 'agent', '-n', tenant.name);
    const image = platform().images.glmquota.reference;
    expect(pod.spec.initContainers[0]).toMatchObject({ name: 'glmquota-sidecar', image, restartPolicy: 'Always' });
    const startOf = (status?: { state: { running: { startedAt: string } } }): number =>
      Date.parse(status?.state.running.startedAt ?? '');
    const sidecarStart = startOf(pod.status.initContainerStatuses[0]);
    expect(sidecarStart).toBeLessThanOrEqual(startOf(pod.status.containerStatuses[0]));
  });

  test('the vendor sees the account key, the agent holds a placeholder', async () => {
    const answer = await callOf(platform(), { namespace: tenant.name, pod: 'agent' });
    expect(answer).toMatchObject({ status: 200, deniedBy: null });
    const [call] = await vendorOf(platform()).calls({ account: tenant.name });
    expect(call).toMatchObject({ key: tenant.key, model: 'glm-5.3', ending: 'Completed' });
    const environment = await runInAgent(
      platform(),
      { namespace: tenant.name, pod: 'agent' },
      'console.log(JSON.stringify(process.env))',
    );
    expect(JSON.parse(environment)).toMatchObject({
      OPENAI_API_KEY: 'glmquota-managed',
      ANTHROPIC_AUTH_TOKEN: 'glmquota-managed',
      OPENAI_BASE_URL: 'http://127.0.0.1:15787/api/coding/paas/v4',
    });
    expect(environment).not.toContain(tenant.key);
  });

  test('the call appears in the status of its quota and of its account', async () => {
    const used = async (kind: string, name: string): Promise<string | undefined> =>
      (await getJson<UsageView>(platform(), kind, name, '-n', tenant.name)).status.usage?.find(
        ({ limit }) => limit === 'five-hour',
      )?.used;
    const { accepted } = await vendorCount(platform(), tenant);
    expect(accepted).toBe(1);
    const started = performance.now();
    const options = { intervalMs: 500 };
    await waitFor('the usage of the quota', async () => (await used('glmq', 'team')) === '1', options);
    await waitFor('the usage of the account', async () => (await used('glma', 'main')) === '1', options);
    console.log(`usage in status after ${((performance.now() - started) / 1000).toFixed(1)} s`);
  });

  describe('an official client', () => {
    beforeAll(async () => {
      await createTenant(platform(), 'sdk');
      await apply(platform(), ...CLIENTS.map((client) => sdkPod(platform(), client)));
    });

    afterAll(async () => {
      await platform().cluster.kubectl(['delete', 'pod', '--all', '-n', 'sdk', '--wait=false']);
    });

    test.each(CLIENTS)('(%s) streams through the sidecar, knowing nothing of it', async (client) => {
      const logs = new AgentLogs(platform().cluster, 'sdk', `client=${client}`);
      const lines = await waitFor('three calls', async () => {
        const seen = await logs.lines();
        return seen.length >= 3 && seen;
      });
      expect(lines.filter(({ result }) => result !== 'granted')).toEqual([]);
      expect(lines.every(({ tokens }) => tokens > 0)).toBe(true);
    });
  });

  test('a pod that asks for the sidecar and may not have it is refused with what to do', async () => {
    expect(await refusal(agentPod(platform(), tenant.name, 'homeless', { quota: 'nobody' }))).toContain(
      `there is no GLMQuota ${tenant.name}/nobody; create it or correct the name`,
    );
  });

  test('a quota may be granted to one service account only', async () => {
    const consumers = { from: 'Same', serviceAccounts: ['runner'] };
    await apply(platform(), quotaObject(tenant.name, 'runners', { parentRef: { name: 'team' }, consumers }));
    const pod = agentPod(platform(), tenant.name, 'walker', { quota: 'runners' });
    const answer = await waitFor('the quota to be known to the injector', async () => {
      const said = await refusal(pod);
      return !said.includes('there is no GLMQuota') && said;
    });
    expect(answer).toContain(`does not admit service account ${tenant.name}/default`);
  });

  const refusal = (pod: Manifest): Promise<string> => attempt(platform(), ['apply', '-f', '-'], JSON.stringify(pod));
}

const CLIENTS = ['openai', 'anthropic'];

function sdkPod(platform: Platform, client: string): Manifest {
  const container = { ...agentContainer(platform), command: undefined, env: [{ name: 'DEMO_CLIENT', value: client }] };
  return agentPod(platform, 'sdk', `sdk-${client}`, { labels: { client }, spec: { containers: [container] } });
}
