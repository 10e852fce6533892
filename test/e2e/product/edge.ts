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

  test('without any edge pod, running agents go on and none starts without its sidecar; with one back, pods start', async () => {
    const load = await Load.start(platform(), agent);
    const scale = (replicas: number): Promise<string> =>
      kubectl('scale', 'deployment/glmquota-edge', '-n', OPERATOR_NAMESPACE, `--replicas=${replicas}`);
    await scale(0);
    await waitFor('edge to be gone', async () => (await podNames()).length === 0);
    const pod = JSON.stringify(agentPod(platform(), tenant.name, 'late'));
    const tryToCreate = (): Promise<string> => attempt(platform(), ['create', '-f', '-'], pod);
    expect(await tryToCreate()).toContain('failed calling webhook "pod.injector.glmquota.io"');
    const callsBefore = load.seen.length;
    await scale(2);
    const startedMs = performance.now();
    await waitFor('an injected pod', async () => (await tryToCreate()).includes('created'), { intervalMs: 200 });
    console.log(`injection is back ${((performance.now() - startedMs) / 1000).toFixed(1)} s after edge was started`);
    await kubectl('wait', 'pod/late', '-n', tenant.name, '--for=condition=Ready', '--timeout=60s');
    expect(await callOf(platform(), { namespace: tenant.name, pod: 'late' })).toMatchObject({ status: 200 });
    await load.stop();
    expect(load.seen.length).toBeGreaterThan(callsBefore);
    expect(load.failures).toEqual([]);
    await settled();
  });
}
