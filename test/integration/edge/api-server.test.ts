import { KubeConfig } from '@kubernetes/client-node';
import { afterAll, beforeAll, expect, onTestFinished, test, vi } from 'vitest';
import { podSource, projectPod } from '#operator/edge/pods.ts';
import type { PodFacts } from '#operator/edge/terms.ts';
import { tokenReviewer } from '#operator/edge/token-reviewer.ts';
import { KubeClient } from '#operator/runtime/client.ts';
import { Connection } from '#operator/runtime/connection.ts';
import { Reflector } from '#operator/runtime/reflector.ts';
import type { ResourceType } from '#operator/runtime/resources.ts';
import { Store } from '#operator/runtime/store.ts';
import { systemClock } from '#sidecar/base/clock.ts';
import { createLog } from '#sidecar/base/log.ts';
import { type ApiServer, startApiServer } from '#test/support/api-server.ts';
import { startTestEdge, watching } from '#test/support/edge/edge.ts';
import { agentPod } from '#test/support/edge/pods.ts';
import { tokenFor } from '#test/support/edge/tokens.ts';

const PODS: ResourceType = { group: '', version: 'v1', plural: 'pods', kind: 'Pod', namespaced: true };
const log = createLog('silent');
const clock = systemClock;

let server: ApiServer;
let connection: Connection;
let client: KubeClient;

beforeAll(async () => {
  server = await startApiServer();
  const config = new KubeConfig();
  config.loadFromString(server.kubeconfig);
  connection = new Connection(config, clock);
  client = new KubeClient({ connection, clock, log, userAgent: 'edge-test/1' });
  await server.kubectl(['create', 'namespace', 'team-a']);
  await server.kubectl(['create', 'serviceaccount', 'runner', '-n', 'team-a']);
}, 600_000);

afterAll(async () => {
  await connection?.[Symbol.asyncDispose]();
  await server?.[Symbol.asyncDispose]();
});

/** A pod as the injector leaves it, at the address of this machine; its uid. */
async function createPod(name: string): Promise<string> {
  const { spec } = agentPod();
  const pod = {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace: 'team-a' },
    spec: {
      ...(spec as object),
      serviceAccountName: 'runner',
      automountServiceAccountToken: false,
      containers: [{ name: 'agent', image: 'agent' }],
      volumes: [
        { name: 'glmquota-token', emptyDir: {} },
        { name: 'glmquota-socket', emptyDir: {} },
      ],
    },
  };
  await server.kubectl(['create', '-f', '-'], JSON.stringify(pod));
  const status = { status: { phase: 'Running', podIP: '127.0.0.1', podIPs: [{ ip: '127.0.0.1' }] } };
  await server.kubectl([
    'patch',
    'pod',
    name,
    '-n',
    'team-a',
    '--subresource=status',
    '--type=merge',
    '-p',
    JSON.stringify(status),
  ]);
  return (await server.kubectl(['get', 'pod', name, '-n', 'team-a', '-o', 'jsonpath={.metadata.uid}'])).trim();
}

/** A token as the kubelet would put it into the pod. */
async function tokenOf(pod: { name: string; uid: string } | null, audience = 'glmquota'): Promise<string> {
  const bound = pod
    ? ['--bound-object-kind=Pod', `--bound-object-name=${pod.name}`, `--bound-object-uid=${pod.uid}`]
    : [];
  return (
    await server.kubectl(['create', 'token', 'runner', '-n', 'team-a', `--audience=${audience}`, ...bound])
  ).trim();
}

async function edgeOverApiServer() {
  const pods = new Store<PodFacts>({ name: 'pods', log, project: projectPod });
  const stop = new AbortController();
  const running = new Reflector({ client, type: PODS, sink: pods, clock, log }).run(stop.signal);
  onTestFinished(async () => {
    stop.abort();
    await running;
  });
  await pods.waitSynced(AbortSignal.timeout(30_000));
  const reviews: string[] = [];
  const reviewer = tokenReviewer(client);
  const counted: typeof reviewer = {
    review: (token, signal) => {
      reviews.push(token);
      return reviewer.review(token, signal);
    },
  };
  return { ...(await startTestEdge({ pods: podSource(pods), reviewer: counted })), pods, reviews };
}

test("a pod is served with the API server's own token for it, and no longer when it is deleted", async () => {
  const uid = await createPod('agent-real');
  const edge = await edgeOverApiServer();
  const stream = watching(edge.client, await tokenOf({ name: 'agent-real', uid }));
  expect((await stream.next()).binding?.quota).toBe('glm/team-a');
  const ended = stream.next();
  ended.catch(() => undefined);
  await server.kubectl(['delete', 'pod', 'agent-real', '-n', 'team-a', '--force', '--grace-period=0']);
  await expect(ended).rejects.toMatchObject({ code: 'forbidden', message: 'the pod has ended' });
});

test('a signed token of the same service account that is bound to no pod is refused unasked', async () => {
  await createPod('agent-unbound');
  const edge = await edgeOverApiServer();
  await expect(watching(edge.client, await tokenOf(null)).next()).rejects.toMatchObject({ code: 'unauthenticated' });
  expect(edge.reviews).toEqual([]);
});

test('a signed token of the pod for another audience is refused unasked', async () => {
  const uid = await createPod('agent-audience');
  const edge = await edgeOverApiServer();
  const token = await tokenOf({ name: 'agent-audience', uid }, 'somebody-else');
  await expect(watching(edge.client, token).next()).rejects.toMatchObject({ code: 'unauthenticated' });
  expect(edge.reviews).toEqual([]);
});

test('a made-up token that names the pod exactly is refused by the API server', async () => {
  const uid = await createPod('agent-forged');
  const edge = await edgeOverApiServer();
  const forged = tokenFor({ namespace: 'team-a', pod: 'agent-forged', uid });
  await expect(watching(edge.client, forged).next()).rejects.toMatchObject({
    code: 'unauthenticated',
    message: 'the API server does not accept the token',
  });
  expect(edge.reviews).toHaveLength(1);
});

test('a token whose claims were rewritten to another pod is refused by the API server', async () => {
  const [mine, theirs] = [await createPod('agent-mine'), await createPod('agent-theirs')];
  const edge = await edgeOverApiServer();
  const [head, , signature] = (await tokenOf({ name: 'agent-mine', uid: mine })).split('.');
  const [, claims] = tokenFor({ namespace: 'team-a', pod: 'agent-theirs', uid: theirs }).split('.');
  await expect(watching(edge.client, `${head}.${claims}.${signature}`).next()).rejects.toMatchObject({
    code: 'unauthenticated',
    message: 'the API server does not accept the token',
  });
});

test('while the API server is away the caller is told to come back', async () => {
  const uid = await createPod('agent-waiting');
  const edge = await edgeOverApiServer();
  const token = await tokenOf({ name: 'agent-waiting', uid });
  await vi.waitFor(() => expect(edge.pods.get('team-a/agent-waiting')?.addresses).toEqual(['127.0.0.1']), 20_000);
  await server.kill();
  try {
    await expect(watching(edge.client, token).next()).rejects.toMatchObject({ transient: true });
  } finally {
    await server.start();
  }
  await vi.waitFor(async () => expect((await watching(edge.client, token).next()).binding?.quota).toBe('glm/team-a'), {
    timeout: 60_000,
    interval: 1_500,
  });
});
