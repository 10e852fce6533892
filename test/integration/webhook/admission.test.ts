import { expect, test, beforeAll, afterAll } from 'vitest';
import { createAuthority, signServerCertificate } from '#operator/certificates/x509.ts';
import type { BindVerdict, InjectContext } from '#operator/webhook/inject.ts';
import { startWebhook } from '#operator/webhook/server.ts';
import { createLog } from '#sidecar/base/log.ts';
import { createRegistry } from '#sidecar/base/metrics.ts';
import { type ApiServer, startApiServer } from '../../support/api-server.ts';
import { waitFor } from '../../cluster/wait.ts';
import { renderChart } from '../../support/chart.ts';

const IMAGE = 'glmquota:0.1.0';
const stack = new AsyncDisposableStack();
let api: ApiServer;

const settings: InjectContext['settings'] = {
  image: IMAGE,
  imagePullPolicy: 'IfNotPresent',
  controlAddress: 'glmquota-edge.glmquota.svc:8443',
  controlCaPem: 'PEM',
  logLevel: 'info',
  resources: { requests: { cpu: '20m', memory: '64Mi' }, limits: { memory: '192Mi' } },
};

function contextOf(name: string): InjectContext {
  const bind = ({ quota }: { quota: string }): BindVerdict =>
    quota === 'team/granted'
      ? { kind: 'bound', billing: 'CodingPlan' }
      : { kind: 'refused', message: `GLMQuota ${quota} does not exist` };
  return { namespace: { name, labels: {}, annotations: {} }, settings, vendorHosts: ['api.z.ai'], bind };
}

/** The chart's webhook, pointed at this process: the API server reads `url` where the chart names a Service. */
async function installWebhook(): Promise<void> {
  const nowMs = Date.now();
  const authority = await createAuthority('test', { nowMs, days: 1 });
  const names = { commonName: 'webhook', dnsNames: ['localhost'], ipAddresses: ['127.0.0.1'] };
  const certificate = await signServerCertificate(authority, names, { nowMs, days: 1 });
  const webhook = await startWebhook({
    host: '127.0.0.1',
    port: 0,
    certificate,
    context: contextOf,
    log: createLog('silent'),
    registry: createRegistry(),
  });
  stack.use(webhook);
  await api.kubectl(['apply', '-f', '-'], await renderChart({ templates: ['webhook.yaml'] }));
  const clientConfig = {
    url: `https://127.0.0.1:${webhook.port}/inject`,
    caBundle: Buffer.from(authority.certPem).toString('base64'),
  };
  const operations = [0, 1].map((i) => ({ op: 'replace', path: `/webhooks/${i}/clientConfig`, value: clientConfig }));
  await api.kubectl([
    'patch',
    'mutatingwebhookconfiguration',
    'glmquota-injector',
    '--type=json',
    '-p',
    JSON.stringify(operations),
  ]);
}

interface Overrides {
  readonly labels?: Record<string, string>;
  readonly annotations?: Record<string, string>;
  readonly spec?: Record<string, unknown>;
  readonly container?: Record<string, unknown>;
  readonly namespace?: string;
}

function manifest(name: string, { labels, annotations, spec, container, namespace }: Overrides = {}): string {
  return JSON.stringify({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name,
      namespace: namespace ?? 'team',
      labels: labels ?? { 'glmquota.io/inject': 'true' },
      annotations: annotations ?? { 'glmquota.io/quota': 'granted' },
    },
    spec: { serviceAccountName: 'default', containers: [{ name: 'agent', image: 'agent:1', ...container }], ...spec },
  });
}

async function create(name: string, overrides?: Overrides): Promise<string> {
  return api.kubectl(['create', '-f', '-'], manifest(name, overrides)).catch((reason: Error) => reason.message);
}

async function attempt(...args: string[]): Promise<string> {
  return api.kubectl(args).catch((reason: Error) => reason.message);
}

beforeAll(async () => {
  api = stack.use(await startApiServer());
  await api.kubectl(['create', 'namespace', 'team']);
  await api.kubectl(['apply', '-f', '-'], await renderChart({ templates: ['admission-policy.yaml'] }));
  await installWebhook();
  // A policy takes effect a moment after it is stored.
  const probe = { labels: {}, spec: { volumes: [tokenVolume] } };
  await waitFor('the policy to take effect', async () => (await create('probe', probe)).includes('audience glmquota'));
  await create('victim');
});
afterAll(() => stack.disposeAsync());

const tokenVolume = {
  name: 'mine',
  projected: { sources: [{ serviceAccountToken: { audience: 'glmquota', path: 'token' } }] },
};

test('a labelled pod gets the sidecar first, ready to be started by the kubelet', async () => {
  const pod = JSON.parse(await api.kubectl(['get', 'pod', 'victim', '-n', 'team', '-o', 'json'])) as {
    spec: {
      initContainers: { name: string; restartPolicy: string; image: string }[];
      containers: { env: { name: string }[] }[];
    };
  };
  expect(pod.spec.initContainers[0]).toMatchObject({ name: 'glmquota-sidecar', restartPolicy: 'Always', image: IMAGE });
  expect(pod.spec.containers[0]?.env.map(({ name }) => name)).toContain('ANTHROPIC_BASE_URL');
});

test('a pod that did not ask is left alone', async () => {
  expect(await create('plain', { labels: {} })).toContain('created');
  expect(await attempt('get', 'pod', 'plain', '-n', 'team', '-o', 'jsonpath={.spec.initContainers}')).toBe('');
});

test('a pod bound to a quota that refuses it is not created', async () => {
  expect(await create('unbound', { annotations: { 'glmquota.io/quota': 'other/quota' } })).toContain(
    'GLMQuota other/quota does not exist',
  );
});

test.each<[string, Overrides, string]>([
  [
    'a projected token of our audience in a pod without sidecar',
    { labels: {}, spec: { volumes: [tokenVolume] } },
    'audience glmquota belongs to the injected sidecar',
  ],
  [
    'a projected token of our audience beside the sidecar',
    { spec: { volumes: [tokenVolume] }, container: { volumeMounts: [{ name: 'mine', mountPath: '/t' }] } },
    'audience glmquota belongs to the injected sidecar',
  ],
  [
    "the sidecar's own token volume in the agent",
    { container: { volumeMounts: [{ name: 'glmquota-token', mountPath: '/t' }] } },
    'only the container glmquota-sidecar may mount',
  ],
  ['a shared process namespace', { spec: { shareProcessNamespace: true } }, 'remove shareProcessNamespace'],
  ['hostPID', { spec: { hostPID: true } }, 'must not use hostPID'],
  ['hostNetwork', { spec: { hostNetwork: true } }, 'hostNetwork'],
  [
    'a false address of our Services',
    { spec: { hostAliases: [{ ip: '10.0.0.1', hostnames: ['glmquota-redis.glmquota.svc'] }] } },
    'hostAliases must not name',
  ],
  [
    'a sidecar of its own without asking',
    { labels: {}, spec: { initContainers: [{ name: 'glmquota-sidecar', image: IMAGE, restartPolicy: 'Always' }] } },
    'reserved',
  ],
  [
    'a sidecar of its own image',
    { spec: { initContainers: [{ name: 'glmquota-sidecar', image: 'evil:1', restartPolicy: 'Always' }] } },
    'reserved',
  ],
])('a pod with %s is refused', async (what, overrides, message) => {
  expect(await create(`attack-${what.length}`, overrides)).toContain(message);
});

test("the sidecar's image cannot be changed on a running pod", async () => {
  const patch = JSON.stringify([{ op: 'replace', path: '/spec/initContainers/0/image', value: 'evil:1' }]);
  expect(await attempt('patch', 'pod', 'victim', '-n', 'team', '--type=json', '-p', patch)).toContain(
    'the image the administrator configured',
  );
});

test('removing the label does not open the way to changing the image', async () => {
  expect(await attempt('label', 'pod', 'victim', '-n', 'team', 'glmquota.io/inject-')).toContain(
    'labels of glmquota.io cannot change',
  );
});

test.each([
  ['quota', 'team/other'],
  ['status', '{}'],
])('the annotation glmquota.io/%s cannot be changed on a running pod', async (key, value) => {
  expect(
    await attempt('annotate', 'pod', 'victim', '-n', 'team', '--overwrite', `glmquota.io/${key}=${value}`),
  ).toContain('annotations of glmquota.io cannot change');
});

test('labels and annotations of ours cannot be added to a running pod', async () => {
  expect(await attempt('annotate', 'pod', 'victim', '-n', 'team', 'glmquota.io/concurrency=99')).toContain(
    'annotations of glmquota.io cannot change',
  );
  expect(await attempt('label', 'pod', 'victim', '-n', 'team', 'glmquota.io/pool=x')).toContain(
    'labels of glmquota.io cannot change',
  );
});

test.each<[string, Record<string, unknown>]>([
  ['other arguments', { args: ['-e', 'x'] }],
  ['a variable of Node', { env: [{ name: 'NODE_OPTIONS', value: '--inspect' }] }],
  ['a snapshot of its own', { env: [{ name: 'GLMQUOTA_SNAPSHOT_FILE', value: '/x' }] }],
])('where no injector is asked, a sidecar with %s is refused all the same', async (what, fields) => {
  const sidecar = {
    name: 'glmquota-sidecar',
    image: IMAGE,
    restartPolicy: 'Always',
    args: ['sidecar'],
    env: [],
    ...fields,
  };
  const message = await create(`alone-${what.length}`, {
    namespace: 'kube-system',
    spec: { initContainers: [sidecar] },
  });
  expect(message).toContain('the sidecar runs as it is injected');
});

test('a host alias without names is no obstacle', async () => {
  expect(await create('aliased', { spec: { hostAliases: [{ ip: '10.0.0.1' }] } })).toContain('created');
});

test('other labels and annotations of an injected pod may change', async () => {
  expect(await attempt('label', 'pod', 'victim', '-n', 'team', 'mine=yes')).toContain('labeled');
});

function ephemeral(fields: Record<string, unknown>): Promise<string> {
  const container = { name: `debug-${Object.keys(fields).length}`, image: 'debug:1', ...fields };
  const patch = JSON.stringify({ spec: { ephemeralContainers: [container] } });
  return attempt('patch', 'pod', 'victim', '-n', 'team', '--subresource=ephemeralcontainers', '-p', patch);
}

test("an ephemeral container may neither mount the sidecar's token nor join the sidecar", async () => {
  expect(await ephemeral({ volumeMounts: [{ name: 'glmquota-token', mountPath: '/t' }] })).toContain('may not mount');
  expect(await ephemeral({ targetContainerName: 'glmquota-sidecar' })).toContain('may not join the sidecar');
});

test('exec and attach into the sidecar are refused, into the agent not by us', async () => {
  expect(await attempt('exec', 'victim', '-n', 'team', '-c', 'glmquota-sidecar', '--', 'node')).toContain(
    'nobody may exec or attach',
  );
  expect(await attempt('attach', 'victim', '-n', 'team', '-c', 'glmquota-sidecar')).toContain(
    'nobody may exec or attach',
  );
  expect(await attempt('exec', 'victim', '-n', 'team', '-c', 'agent', '--', 'node')).not.toContain('nobody may exec');
});
