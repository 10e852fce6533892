/** AgentPools: what kubectl does to them, and what they do to pods. */
import { beforeAll, expect, test } from 'vitest';
import { waitFor } from '#test/cluster/wait.ts';
import { agentContainer, callOf } from '#test/support/agents.ts';
import {
  apply,
  createTenant,
  getJson,
  GROUP,
  type Manifest,
  type Platform,
  quotaObject,
  type Tenant,
} from '#test/support/platform.ts';

interface PoolView {
  readonly spec: { readonly replicas: number };
  readonly status?: {
    readonly replicas: number;
    readonly readyReplicas: number;
    readonly selector: string;
    readonly conditions: readonly { readonly type: string; readonly status: string; readonly reason: string }[];
  };
}

interface PodList {
  readonly items: readonly {
    readonly metadata: { readonly name: string; readonly deletionTimestamp?: string };
    readonly spec: {
      readonly initContainers: readonly {
        readonly env: readonly { readonly name: string; readonly value?: string }[];
      }[];
    };
    readonly status: { readonly conditions?: readonly { readonly type: string; readonly status: string }[] };
  }[];
}

const SELECTOR = 'glmquota.io/pool=agents';

export function pools(platform: () => Platform): void {
  let tenant: Tenant;

  const pool = (quota: string, replicas: number): Manifest => ({
    apiVersion: GROUP,
    kind: 'AgentPool',
    metadata: { name: 'agents', namespace: tenant.name },
    spec: {
      quotaRef: { name: quota },
      replicas,
      perAgent: { concurrency: 1, memory: '300Mi' },
      template: { spec: { terminationGracePeriodSeconds: 1, containers: [agentContainer(platform())] } },
    },
  });

  const kubectl = (...args: readonly string[]): Promise<string> =>
    platform().cluster.kubectl([args[0] ?? '', '-n', tenant.name, ...args.slice(1)]);

  const view = (): Promise<PoolView> => getJson<PoolView>(platform(), 'ap', 'agents', '-n', tenant.name);

  const pods = async (): Promise<PodList['items']> =>
    (await getJson<PodList>(platform(), 'pods', '-n', tenant.name, '-l', SELECTOR)).items;

  const bindingOf = (pod: PodList['items'][number]): string | undefined =>
    pod.spec.initContainers[0]?.env.find(({ name }) => name === 'GLMQUOTA_BINDING')?.value;

  const readyWith = (replicas: number): Promise<PoolView> =>
    waitFor(
      `${replicas} ready agents`,
      async () => {
        const seen = await view();
        const { status } = seen;
        const isReady = status?.conditions.some(({ type, status: is }) => type === 'Ready' && is === 'True');
        return isReady && status?.replicas === replicas && status.readyReplicas === replicas && seen;
      },
      { intervalMs: 200 },
    );

  beforeAll(async () => {
    tenant = await createTenant(platform(), 'pooled');
    await apply(platform(), quotaObject(tenant.name, 'other', { accountRef: { name: 'main' } }));
    await kubectl('wait', 'glmq/other', '--for=condition=Ready', '--timeout=60s');
  });

  test('a pool makes a Deployment of injected agents bound to its quota', async () => {
    await apply(platform(), pool('team', 1));
    await readyWith(1);
    const [pod] = await pods();
    if (!pod) throw new Error('there is no pod');
    expect(bindingOf(pod)).toBe(`${tenant.name}/team`);
    expect(await callOf(platform(), { namespace: tenant.name, pod: pod.metadata.name })).toMatchObject({ status: 200 });
    const limit = 'jsonpath={.spec.template.spec.containers[0].resources.limits.memory}';
    expect(await kubectl('get', 'deployment', 'agents', '-o', limit)).toBe('300Mi');
  });

  test('perAgent.concurrency holds in each pod', async () => {
    const [pod] = await pods();
    const name = pod?.metadata.name ?? '';
    const code = `
      const ask = () => fetch(process.env.OPENAI_BASE_URL + '/chat/completions', { method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ model: 'glm-5.3', messages: [{ role: 'user', content: '[[sim ms=1500]]' }] }) })
        .then(async (r) => { await r.text(); return [r.status, r.headers.get('x-glmquota-denied-by')]; });
      Promise.all([ask(), ask()]).then((all) => console.log(JSON.stringify(all)));`;
    const said = await kubectl('exec', name, '-c', 'agent', '--', '/bin/node', '-e', code);
    const answers = JSON.parse(said) as [number, string | null][];
    expect(answers.map(([status]) => status).toSorted((a, b) => a - b)).toEqual([200, 429]);
    console.log(`refused by ${answers.find(([status]) => status === 429)?.[1]}`);
  });

  test('kubectl scale acts through /scale, and status counts pods for autoscalers', async () => {
    await kubectl('scale', 'ap', 'agents', '--replicas=2');
    const { spec, status } = await readyWith(2);
    expect(spec.replicas).toBe(2);
    expect(status?.selector).toBe(SELECTOR);
    const scale = await platform().cluster.kubectl([
      'get',
      '--raw',
      `/apis/${GROUP}/namespaces/${tenant.name}/agentpools/agents/scale`,
    ]);
    expect(JSON.parse(scale)).toMatchObject({ spec: { replicas: 2 }, status: { replicas: 2, selector: SELECTOR } });
    expect(await pods()).toHaveLength(2);
  });

  test('another quotaRef is a rolling update: agents stay ready meanwhile', async () => {
    const before = new Set((await pods()).map(({ metadata }) => metadata.name));
    const readyCounts: number[] = [];
    await apply(platform(), pool('other', 2));
    await waitFor('only pods of the new quota', async () => {
      const all = await pods();
      const isReady = (pod: (typeof all)[number]): boolean =>
        pod.metadata.deletionTimestamp === undefined &&
        (pod.status.conditions ?? []).some(({ type, status }) => type === 'Ready' && status === 'True');
      readyCounts.push(all.filter(isReady).length);
      return all.length === 2 && all.every((pod) => bindingOf(pod) === `${tenant.name}/other`);
    });
    expect(Math.min(...readyCounts)).toBeGreaterThan(0);
    expect((await pods()).filter(({ metadata }) => before.has(metadata.name))).toEqual([]);
    await readyWith(2);
    const [pod] = await pods();
    expect(await callOf(platform(), { namespace: tenant.name, pod: pod?.metadata.name ?? '' })).toMatchObject({
      status: 200,
    });
  });

  test('a Deployment that somebody deletes is made again', async () => {
    await kubectl('delete', 'deployment', 'agents', '--wait');
    await waitFor('the Deployment', async () => (await kubectl('get', 'deployment', 'agents', '-o', 'name')) !== '');
    expect(await readyWith(2)).toMatchObject({ spec: { replicas: 2 } });
  });

  test('a pool of a quota that does not exist says so and starts nothing', async () => {
    const lost = { ...pool('ghost', 1), metadata: { name: 'lost', namespace: tenant.name } };
    await apply(platform(), lost);
    await waitFor('its condition', async () => {
      const { status } = await getJson<PoolView>(platform(), 'ap', 'lost', '-n', tenant.name);
      return status?.conditions.some(({ reason, status: is }) => reason === 'QuotaNotFound' && is === 'False');
    });
    expect(await kubectl('get', 'deployment', 'lost', '--ignore-not-found', '-o', 'name')).toBe('');
  });

  test('with the pool its Deployment and pods are gone', async () => {
    await kubectl('delete', 'ap', 'agents', '--wait');
    await waitFor('the pods to be gone', async () => (await pods()).length === 0);
    expect(await kubectl('get', 'deployment', 'agents', '--ignore-not-found', '-o', 'name')).toBe('');
  });
}
