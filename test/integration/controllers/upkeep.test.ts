import { gunzipSync } from 'node:zlib';
import type { Redis } from 'ioredis';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { GLM_ACCOUNTS, GLM_QUOTAS, PODS, SECRETS } from '#operator/controllers/world/kinds.ts';
import { treeKeyOf } from '#operator/trees/names.ts';
import { createSidecarEngine } from '#sidecar/engine/client.ts';
import type { AdminEngine, SidecarEngine } from '#sidecar/engine/port.ts';
import type { NodeSnapshot, Settlement, Verdict } from '#sidecar/engine/terms.ts';
import { agentPod } from '#test/support/edge/pods.ts';
import { ONE, request, settlement } from '#test/support/engine.ts';
import { until } from '../../unit/runtime/await-until.ts';
import { FAST, openRedis, Stand } from './stand.ts';

let stand: Stand;
let controller: ReturnType<Stand['startController']>;
/** What the leader asked of the engine. */
const calls: string[] = [];

const account = { namespace: 'glm', name: 'max' };
const team = { namespace: 'team-a', name: 'team' };
const spec = {
  accountRef: account,
  limits: [{ name: 'daily', resource: 'Requests', amount: 20, window: { type: 'Calendar', period: 'Day' } }],
};
/** One call in a hundred seconds. */
const paced = { namespace: 'team-a', name: 'paced' };
const key = treeKeyOf(account);
const REQUEST = 'daily@2099-01-01T00:00:00Z';

/** The real engine; what it is told of owners, windows and lost trees is noted besides. */
function noting(engine: AdminEngine): AdminEngine {
  return {
    ...engine,
    configure: async (tree, revision, options = {}, signal) => {
      const used = options.checkpoint?.usage.map((each) => `${each.node} ${each.limit} ${each.used}`);
      if (options.lost) calls.push(`lost ${used?.join() ?? 'all'}`);
      return engine.configure(tree, revision, options, signal);
    },
    reclaim: async (tree, owners, signal) => {
      const ended = await engine.reclaim(tree, owners, signal);
      calls.push(`reclaim ${owners.prefix} ${ended.leases}`);
      return ended;
    },
    drain: async (tree, prefix, isDraining, signal) => {
      await engine.drain(tree, prefix, isDraining, signal);
      calls.push(`drain ${prefix} ${isDraining}`);
    },
    resetWindow: async (tree, node, limit, signal) => {
      calls.push(`reset ${node} ${limit}`);
      return engine.resetWindow(tree, node, limit, signal);
    },
  };
}

/** Asks for a lease in the quota; registers first where Redis wants that. */
async function acquire(engine: SidecarEngine, id: string, owner: string, leaf = 'team'): Promise<Verdict> {
  const { generation } = (await stand.tree(account))!.revision;
  const asked = request(id, { owner, leaf: `quota:team-a/${leaf}`, generation, reserve: ONE });
  const verdict = await engine.acquire(asked);
  if (verdict.kind !== 'epoch') return verdict;
  const { epoch } = await engine.register({ owner, leases: [], disclaimed: [] });
  return engine.acquire({ ...asked, epoch });
}

const nodeOf = async (wanted: string): Promise<NodeSnapshot | undefined> =>
  (await stand.tree(account))?.nodes.find(({ name }) => name === wanted);
const usedOf = async (): Promise<number | undefined> => (await nodeOf('quota:team-a/team'))?.usage[0]?.used;

const called = async (call: string): Promise<void> => until(async () => calls.includes(call), call);

beforeAll(async () => {
  stand = await Stand.start();
  await stand.namespace('glm');
  await stand.namespace('team-a');
  controller = stand.startController('controller-0', FAST, { wrap: noting });
  await stand.credential('glm', 'key', { apiKey: 'vendor-key-0001' });
  await stand.account(account, {
    children: { from: 'All' },
    concurrency: { mode: 'Adaptive', max: 4, start: 4 },
    modelConcurrency: [{ model: 'glm-5.3', max: 4, start: 3 }],
  });
  await stand.quota(team, spec);
  await stand.quota(paced, { accountRef: account, rate: { requestsPerSecond: '0.01' } });
  await stand.eventually(GLM_QUOTAS, team, 'Ready', 'True QuotaActive');
}, 600_000);

afterAll(async () => {
  await controller?.[Symbol.asyncDispose]();
  await stand?.[Symbol.asyncDispose]();
});

function sidecarEngine(): Disposable & { readonly redis: Redis; readonly engine: SidecarEngine } {
  const redis = openRedis(stand.redis.url);
  const engine = createSidecarEngine({ redis, treeKey: key });
  return { redis, engine, [Symbol.dispose]: () => redis.disconnect() };
}

/** A pod that was bound to a node: it is deleted only when its kubelet says so. */
async function startPod(name: string): Promise<string> {
  const made = agentPod({ name, quota: 'team-a/team' });
  const metadata = { namespace: 'team-a', name, labels: { 'glmquota.io/injected': 'true' } };
  const containers = [{ name: 'agent', image: 'agent:1' }];
  const podSpec = { ...(made['spec'] as object), containers, nodeName: 'node-1' };
  const sidecar = (podSpec as unknown as { initContainers: { volumeMounts?: unknown }[] }).initContainers[0]!;
  delete sidecar.volumeMounts;
  const pod = await stand.client.create(PODS, { apiVersion: 'v1', kind: 'Pod', metadata, spec: podSpec });
  return pod.metadata.uid;
}

test('a pod told to end gets nothing new, and what it leaves is taken back once it is gone', async () => {
  const uid = await startPod('agent-1');
  using link = sidecarEngine();
  expect(await acquire(link.engine, 'call-1', `${uid}/a`)).toMatchObject({ kind: 'granted' });
  await stand.server.kubectl(['-n', 'team-a', 'delete', 'pod', 'agent-1', '--wait=false']);
  await called(`drain ${uid} true`);
  expect(await acquire(link.engine, 'call-2', `${uid}/a`)).toMatchObject({ kind: 'denied', reason: 'Draining' });
  await stand.server.kubectl(['-n', 'team-a', 'delete', 'pod', 'agent-1', '--force', '--grace-period=0']);
  await called(`reclaim ${uid}/ 1`);
  expect(await acquire(link.engine, 'call-4', `${uid}/a`)).toMatchObject({ kind: 'denied', reason: 'Draining' });
});

test('a reset asked for by annotation is done once, told and echoed, whoever leads then', async () => {
  expect(await usedOf()).toBe(1);
  await stand.quota(team, spec, { 'glmquota.io/reset-window': REQUEST });
  const echo = async () => (await stand.status(GLM_QUOTAS, team))['reset'] as { request: string; result: string };
  await until(async () => (await echo())?.request === REQUEST, 'the echo');
  expect(await echo()).toMatchObject({ result: 'Done' });
  expect(await usedOf()).toBe(0);
  await controller[Symbol.asyncDispose]();
  controller = stand.startController('controller-1', FAST, { wrap: noting });
  await stand.quota(team, spec, { 'glmquota.io/reset-window': 'weekly@2099-01-01T00:00:00Z' });
  await until(async () => (await echo())?.result === 'NoSuchLimit', 'the refusal');
  const resets = calls.filter((call) => call.startsWith('reset'));
  expect(resets).toEqual(['daily', 'weekly'].map((limit) => `reset quota:team-a/team ${limit}`));
  const type = { group: 'events.k8s.io', version: 'v1', plural: 'events', kind: 'Event', namespaced: true };
  await until(async () => {
    const reasons = (await stand.client.list(type, { namespace: 'team-a' })).items.map((event) => event['reason']);
    return reasons.includes('WindowReset') && reasons.includes('WindowResetRefused');
  }, 'both Events');
});

test('F3 what was used and learnt is kept in a Secret, and brought back into a Redis that lost it', async () => {
  using link = sidecarEngine();
  const call = async (id: string, leaf?: string) => {
    const verdict = await acquire(link.engine, id, 'pod-2/a', leaf);
    if (verdict.kind !== 'granted') throw new Error(JSON.stringify(verdict));
    return async (rest: Partial<Settlement>) => link.engine.settle([settlement(id, verdict.fence, rest)]);
  };
  await until(async () => (await nodeOf('account'))?.inFlight === 0, 'the end of what the pod left');
  const refuse = await call('call-5', 'paced');
  await refuse({ outcome: 'refusedConcurrency' });
  expect((await nodeOf('model:glm-5.3'))?.concurrency).toBe(1);
  const complete = await call('call-3');
  await complete({ actual: ONE });
  const name = `glmquota-checkpoint-${key}`;
  const stored = async () => stand.client.get(SECRETS, { namespace: 'default', name });
  await until(async () => {
    const text = ((await stored())?.['data'] as Record<string, string> | undefined)?.['usage.json.gz'];
    return text !== undefined && gunzipSync(Buffer.from(text, 'base64')).includes('model:glm-5.3');
  }, 'the checkpoint');
  expect(await stored()).toMatchObject({ type: 'glmquota.io/checkpoint' });
  await link.redis.flushall();
  await called('lost quota:team-a/team daily 1');
  await until(async () => (await usedOf()) === 1, 'the use before the loss');
  expect((await nodeOf('model:glm-5.3'))?.concurrency).toBe(1);
  expect((await nodeOf('quota:team-a/paced'))?.rateWaitUs).toBeGreaterThan(0);
});

test('W2 a planned move asked for by annotation is echoed in the status of the account', async () => {
  const soon = new Date(Date.now() + 3_600_000).toISOString();
  const annotate = ['annotate', '-n', 'glm', 'glmaccount/max', `glmquota.io/planned-move=${soon}`];
  await stand.server.kubectl(annotate);
  const echo = async () => (await stand.status(GLM_ACCOUNTS, account))['plannedMove'];
  await until(async () => (await echo()) !== undefined, 'the echo');
  // The controller of this test knows no cluster.
  expect(await echo()).toMatchObject({ request: soon, result: 'NoCluster' });
});
