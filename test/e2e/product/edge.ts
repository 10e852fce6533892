/** Edge, which injects and configures sidecars, goes away while agents run. */
import { beforeAll, expect, test } from 'vitest';
import { waitFor } from '#test/cluster/wait.ts';
import { type Agent, agentPod, callOf, Load, startAgent } from '#test/support/agents.ts';
import {
  attempt,
  createTenant,
  getJson,
  OPERATOR_NAMESPACE,
  type Platform,
  type Tenant,
} from '#test/support/platform.ts';

const SELECTED = ['-n', OPERATOR_NAMESPACE, '-l', 'app.kubernetes.io/component=edge'];

export function edge(platform: () => Platform): void {
  let tenant: Tenant;
  let agent: Agent;

  const kubectl = (...args: readonly string[]): Promise<string> => platform().cluster.kubectl(args);

  const podNames = async (): Promise<readonly string[]> => {
    const { items } = await getJson<{ items: { metadata: { name: string } }[] }>(platform(), 'pods', ...SELECTED);
    return items.map(({ metadata }) => metadata.name);
  };

  const settled = (): Promise<string> =>
    kubectl('rollout', 'status', 'deployment/glmquota-edge', '-n', OPERATOR_NAMESPACE, '--timeout=120s');

  beforeAll(async () => {
    tenant = await createTenant(platform(), 'edged');
    agent = await startAgent(platform(), tenant, 'agent');
  });

  test('with its pods deleted one by one, running agents go on and new pods are injected all the time', async () => {
    const load = await Load.start(platform(), agent);
    for (const [i, name] of (await podNames()).entries()) {
      await kubectl('delete', 'pod', name, '-n', OPERATOR_NAMESPACE, '--wait=false');
      const late = await startAgent(platform(), tenant, `during-${i}`);
      expect(await callOf(platform(), late)).toMatchObject({ status: 200 });
      await settled();
    }
    await load.stop();
    console.log(`${load.seen.length} calls meanwhile`);
    expect(load.failures).toEqual([]);
  });

  test('with all its pods killed at once, running agents go on; a new pod waits until one is back', async () => {
    const load = await Load.start(platform(), agent);
    await kubectl('delete', 'pods', ...SELECTED, '--grace-period=0', '--force');
    const killedMs = performance.now();
    const pod = JSON.stringify(agentPod(platform(), tenant.name, 'late'));
    const refusals = new Set<string>();
    await waitFor(
      'an injected pod',
      async () => {
        const said = await attempt(platform(), ['create', '-f', '-'], pod);
        if (said.includes('created')) return true;
        refusals.add(said.replaceAll(/\s+/g, ' ').slice(0, 200));
        return false;
      },
      { intervalMs: 200 },
    );
    console.log(
      `injection is back ${((performance.now() - killedMs) / 1000).toFixed(1)} s after all edge pods were killed`,
    );
    console.log(refusals.size === 0 ? 'no creation was refused meanwhile' : [...refusals].join('\n'));
    // Nothing got in without its sidecar, and the refusals name the webhook.
    for (const said of refusals) expect(said).toMatch(/webhook/);
    await kubectl('wait', 'pod/late', '-n', tenant.name, '--for=condition=Ready', '--timeout=60s');
    expect(await callOf(platform(), { namespace: tenant.name, pod: 'late' })).toMatchObject({ status: 200 });
    await load.stop();
    expect(load.failures).toEqual([]);
  });
}
