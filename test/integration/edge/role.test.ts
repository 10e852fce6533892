import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import { createAuthority, type KeyPair } from '#operator/certificates/x509.ts';
import { EDGE_RESOURCES, runEdgeRole } from '#operator/edge-role.ts';
import { createRuntimeMetrics } from '#operator/runtime/metrics.ts';
import type { ResourceType } from '#operator/runtime/resources.ts';
import { LeaseService } from '#proto/glmquota/v1/lease_pb.ts';
import { createCell } from '#sidecar/base/cell.ts';
import { systemClock } from '#sidecar/base/clock.ts';
import { createLog, type Log } from '#sidecar/base/log.ts';
import { createRegistry } from '#sidecar/base/metrics.ts';
import type { RedisAccess } from '#operator/edge/terms.ts';
import { ENGINE_VERSION } from '#sidecar/engine/library.ts';
import { Channel } from '#sidecar/rpc/channel.ts';
import { createClient } from '#sidecar/rpc/client.ts';
import { agentPod, IMAGE } from '#test/support/edge/pods.ts';
import { until } from '../../unit/runtime/await-until.ts';
import { Stand } from '../controllers/stand.ts';
import { startSidecar } from '../sidecar/fixture.ts';

const account = { namespace: 'glm', name: 'max' };
const quota = { namespace: 'glm', name: 'team' };
const clock = systemClock;

let stand: Stand;
let authority: KeyPair;
let controlPort: number;
const TRUSTING = 'glmquota-trusting';
const WEBHOOKS: ResourceType = {
  group: 'admissionregistration.k8s.io',
  version: 'v1',
  plural: 'mutatingwebhookconfigurations',
  kind: 'MutatingWebhookConfiguration',
  namespaced: false,
};
const open = new AsyncDisposableStack();

beforeAll(async () => {
  stand = open.use(await Stand.start());
  for (const name of ['glm', 'team-a']) await stand.namespace(name);
  await stand.server.kubectl(['create', 'serviceaccount', 'runner', '-n', 'team-a']);
  await stand.credential('glm', 'key', { apiKey: 'vendor-key-0001' });
  await stand.account(account, {
    keyDelivery: { mode: 'Sidecar', namespaces: { from: 'All' } },
    concurrency: { mode: 'Fixed', max: 10 },
  });
  await stand.quota(quota, { accountRef: account, consumers: { from: 'All' }, concurrency: { max: 1 } });
  open.use(stand.startController());
  authority = await createAuthority('glmquota', { nowMs: clock.nowMs(), days: 1 });
  ({ control: controlPort } = await startEdgeRole());
}, 600_000);

afterAll(() => open.disposeAsync());

interface Ports {
  readonly control: number;
  readonly health: number;
}

/** The role `edge` inside this process, over the same API server and Redis. */
async function startEdgeRole(injectorConfiguration: string | null = null): Promise<Ports> {
  const listening = Promise.withResolvers<Ports>();
  const silent = createLog('silent');
  const log: Log = {
    ...silent,
    info: (event, fields) => void (event === 'edge.started' && listening.resolve(fields as unknown as Ports)),
  };
  const stop = new AbortController();
  const registry = createRegistry();
  // Draining waits for load balancers that are not here.
  const quick = {
    ...clock,
    sleep: (ms: number, signal?: AbortSignal) => clock.sleep(stop.signal.aborted ? 0 : ms, signal),
  };
  const redisSettings = { url: stand.redis.url, username: null, password: null, caPem: null };
  const running = runEdgeRole(
    {
      client: stand.client,
      metrics: createRuntimeMetrics(registry, { controllers: [], resources: EDGE_RESOURCES, leases: [] }),
      authority,
      dnsNames: ['localhost'],
      injectorConfiguration,
      sidecar: {
        image: IMAGE,
        imagePullPolicy: 'IfNotPresent',
        controlAddress: 'localhost:9443',
        logLevel: 'info',
        resources: { requests: {}, limits: {} },
      },
      verifyPeerAddress: true,
      demands: { engineVersion: ENGINE_VERSION, minSidecarVersion: '0.1.0' },
      operatorNamespace: 'glmquota',
      allowedOrigins: [],
      engine: stand.engine,
      redis: createCell<RedisAccess | null>(() => redisSettings),
      host: '127.0.0.1',
      ports: { health: 0, webhook: 0, control: 0 },
      clock: quick,
      log,
      registry,
    },
    stop.signal,
  );
  open.defer(async () => {
    stop.abort();
    await running;
  });
  return listening.promise;
}

/** A pod of the injector's making with its token, and a real sidecar process that holds it. */
async function sidecarOf(name: string) {
  const { spec } = agentPod({ quota: 'glm/team' });
  const pod = {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace: 'team-a', labels: { 'glmquota.io/injected': 'true' } },
    spec: {
      ...(spec as object),
      serviceAccountName: 'runner',
      automountServiceAccountToken: false,
      containers: [{ name: 'agent', image: 'agent' }],
      volumes: ['glmquota-token', 'glmquota-socket'].map((volume) => ({ name: volume, emptyDir: {} })),
    },
  };
  const kubectl = (...args: string[]): Promise<string> => stand.server.kubectl([...args, '-n', 'team-a']);
  await stand.server.kubectl(['create', '-f', '-'], JSON.stringify(pod));
  const status = { status: { phase: 'Running', podIP: '127.0.0.1', podIPs: [{ ip: '127.0.0.1' }] } };
  await kubectl('patch', 'pod', name, '--subresource=status', '--type=merge', '-p', JSON.stringify(status));
  const uid = await kubectl('get', 'pod', name, '-o', 'jsonpath={.metadata.uid}');
  const bound = ['--bound-object-kind=Pod', `--bound-object-name=${name}`, `--bound-object-uid=${uid.trim()}`];
  const token = await kubectl('create', 'token', 'runner', '--audience=glmquota', ...bound);
  const folder = await mkdtemp(join(tmpdir(), 'role-'));
  onTestFinished(() => rm(folder, { recursive: true }));
  await writeFile(join(folder, 'token'), token);
  const sidecar = await startSidecar(null, {
    GLMQUOTA_CONTROL_ADDRESS: `localhost:${controlPort}`,
    GLMQUOTA_CA: authority.certPem,
    GLMQUOTA_TOKEN_FILE: join(folder, 'token'),
  });
  const channel = new Channel({ address: `127.0.0.1:${sidecar.grpcPort}`, security: { kind: 'plain' }, clock });
  onTestFinished(async () => {
    channel[Symbol.dispose]();
    await sidecar[Symbol.asyncDispose]();
  });
  return createClient(LeaseService, channel);
}

type Client = Awaited<ReturnType<typeof sidecarOf>>;

/** `granted` and the id, the reason of the denial, or the code of the failure. */
async function ask(client: Client): Promise<{ answer: string; id: string }> {
  try {
    const { verdict } = await client.acquire({ model: 'glm-5.3' });
    if (verdict.case === 'granted') return { answer: 'granted', id: verdict.value.id };
    return { answer: verdict.value?.reason ?? '', id: '' };
  } catch (reason) {
    return { answer: (reason as { code: string }).code, id: '' };
  }
}

async function answers(client: Client, wanted: string): Promise<string> {
  let last = { answer: '', id: '' };
  await until(async () => (last = await ask(client)).answer === wanted, `the answer ${wanted}, last ${last.answer}`);
  return last.id;
}

test('what kubectl applies is what a sidecar grants: limit, raise, stop, revoke', async () => {
  const client = await sidecarOf('agent-1');
  const held = await answers(client, 'granted');
  expect(await ask(client)).toMatchObject({ answer: 'Concurrency' });

  const startedMs = performance.now();
  await stand.quota(quota, { accountRef: account, consumers: { from: 'All' }, concurrency: { max: 2 } });
  const second = await answers(client, 'granted');
  console.log(`a raised limit was granted ${Math.round(performance.now() - startedMs)} ms after apply`);

  await stand.quota(quota, { accountRef: account, consumers: { from: 'All' }, stop: { policy: 'Hold' } });
  await answers(client, 'Stopped');
  for (const id of [held, second]) await client.cancel({ id });

  await stand.quota(quota, { accountRef: account, consumers: { from: 'Same' } });
  await answers(client, 'unavailable');

  await stand.quota(quota, { accountRef: account, consumers: { from: 'All' } });
  await client.cancel({ id: await answers(client, 'granted') });
});

test('a sidecar that started before its quota was there works once it is', async () => {
  await stand.server.kubectl(['delete', 'glmquota', 'team', '-n', 'glm']);
  const client = await sidecarOf('agent-2');
  expect((await ask(client)).answer).toBe('unavailable');
  await stand.quota(quota, { accountRef: account, consumers: { from: 'All' } });
  await client.cancel({ id: await answers(client, 'granted') });
});

test('Redis that lost everything is filled again and work goes on', async () => {
  const client = await sidecarOf('agent-3');
  await client.cancel({ id: await answers(client, 'granted') });
  await stand.redis.kill();
  expect((await ask(client)).answer).toBe('unavailable');
  await stand.redis.restart();
  const startedMs = performance.now();
  await client.cancel({ id: await answers(client, 'granted') });
  console.log(`granted again ${Math.round(performance.now() - startedMs)} ms after an empty Redis came back`);
});

test('edge is ready only when the API server trusts its injector', async () => {
  const { health } = await startEdgeRole(TRUSTING);
  const readyz = async (): Promise<number> => (await fetch(`http://127.0.0.1:${health}/readyz`)).status;
  expect(await readyz()).toBe(503);

  const clientConfig = { url: 'https://127.0.0.1:9/inject' };
  const webhook = { name: 'inject.glmquota.io', clientConfig, admissionReviewVersions: ['v1'], sideEffects: 'None' };
  const apiVersion = 'admissionregistration.k8s.io/v1';
  const webhooks = [{ ...webhook, rules: [] }];
  const metadata = { name: TRUSTING };
  await stand.client.create(WEBHOOKS, { apiVersion, kind: WEBHOOKS.kind, metadata, webhooks });
  await until(async () => (await readyz()) === 200, 'edge is ready');
  const trusting = await stand.client.get(WEBHOOKS, { name: TRUSTING });
  expect(JSON.stringify(trusting)).toContain(Buffer.from(authority.certPem).toString('base64'));
});
