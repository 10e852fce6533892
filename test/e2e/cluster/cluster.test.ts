import { spawn } from 'node:child_process';
import { createServer, type Server } from 'node:http';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startCluster, type Cluster } from '#test/cluster/cluster.ts';
import { ensureImage, type Image } from '#test/cluster/images/images.ts';
import { waitFor } from '#test/cluster/wait.ts';
import { scriptContainer, scriptPod, SERVER } from './pods.ts';
import { lastingTraces, tracesOfMachine } from './traces.ts';

let cluster: Cluster;
let node: Image;
let before: ReadonlySet<string>;
let bootMs: number;

const log = (line: string): void => console.log(line);

async function apply(...objects: object[]): Promise<void> {
  await cluster.kubectl(['apply', '-f', '-'], {
    stdin: JSON.stringify({ apiVersion: 'v1', kind: 'List', items: objects }),
  });
}

async function ready(...pods: string[]): Promise<void> {
  await cluster.kubectl(['wait', '--for=condition=Ready', '--timeout=60s', ...pods.map((pod) => `pod/${pod}`)]);
}

async function inPod(pod: string, code: string): Promise<string> {
  return (await cluster.kubectl(['exec', pod, '--', '/bin/node', '-e', code])).trim();
}

const fetchText = (url: string): string => `fetch('${url}').then((r) => r.text()).then(console.log)`;

beforeAll(async () => {
  node = await ensureImage('node', { log });
  before = await tracesOfMachine();
  const started = performance.now();
  cluster = await startCluster({ log });
  await cluster.loadImage(node.archive);
  await apply(scriptPod(node, 'first', SERVER, { labels: { app: 'first' } }));
  await ready('first');
  bootMs = performance.now() - started;
});

afterAll(async () => {
  await cluster?.[Symbol.asyncDispose]();
});

test('the first pod is ready within a minute of the start', () => {
  console.log(`first pod ready after ${(bootMs / 1000).toFixed(1)} s (goal: 20 s)`);
  expect(bootMs).toBeLessThan(60_000);
});

test('a pod reaches another and itself through a Service by name, and this machine by its address', async () => {
  await apply(scriptPod(node, 'second', SERVER), {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: 'web' },
    spec: { selector: { app: 'first' }, ports: [{ port: 80, targetPort: 8080 }] },
  });
  await ready('second');
  const server: Server = createServer((_, response) => response.end('machine'));
  await new Promise<void>((resolve) => server.listen(0, cluster.hostAddress, resolve));
  try {
    // A Service is carried to the nodes and to DNS after it was made: readiness of the pods does not wait for that.
    await waitFor('the Service', async () => (await inPod('second', fetchText('http://web'))) === 'first');
    for (const name of ['web', 'web.default', 'web.default.svc.cluster.local'])
      expect(await inPod('second', fetchText(`http://${name}`))).toBe('first');
    expect(await inPod('first', fetchText('http://web'))).toBe('first');
    const { port } = server.address() as { port: number };
    expect(await inPod('first', fetchText(`http://${cluster.hostAddress}:${port}`))).toBe('machine');
  } finally {
    server.closeAllConnections();
    server.close();
  }
});

test('names outside the cluster do not exist', async () => {
  const code = `require('node:dns').lookup('elsewhere.test', (error) => console.log(error.code))`;
  expect(await inPod('first', code)).toBe('ENOTFOUND');
});

test('a native sidecar is ready before the main container starts and ends after it', async () => {
  const side = `
    let server;
    process.on('SIGTERM', () => { console.log('side ends'); process.exit(0); });
    setTimeout(() => { server = require('node:http').createServer((_, r) => r.end('still there')).listen(8080); }, 700);`;
  const main = `
    const ask = () => fetch('http://127.0.0.1:8080').then((r) => r.text(), () => 'away');
    process.on('SIGTERM', async () => { console.log('at the end: ' + await ask()); process.exit(0); });
    ask().then((text) => console.log('at the start: ' + text));
    setInterval(() => {}, 1000);`;
  const probe = `fetch('http://127.0.0.1:8080').catch(() => process.exit(1))`;
  const sidecar = scriptContainer(node, 'side', side, {
    restartPolicy: 'Always',
    startupProbe: { exec: { command: ['/bin/node', '-e', probe] }, periodSeconds: 1, failureThreshold: 30 },
  });
  await apply(scriptPod(node, 'paired', main, { spec: { initContainers: [sidecar] } }));
  await ready('paired');
  const hasStarted = async (): Promise<boolean> =>
    (await cluster.kubectl(['logs', 'paired', '-c', 'main'])).includes('start');
  await waitFor('the first line', hasStarted, { intervalMs: 300 });
  const logs = cluster.kubectl(['logs', '-f', 'paired', '-c', 'main']);
  await cluster.kubectl(['delete', 'pod', 'paired', '--wait']);
  expect(await logs).toBe('at the start: still there\nat the end: still there\n');
});

test('a projected token is valid for its audience only and names its pod', async () => {
  const token = { serviceAccountToken: { audience: 'glmquota', expirationSeconds: 3600, path: 'token' } };
  const spec = { volumes: [{ name: 'token', projected: { sources: [token] } }] };
  const container = { volumeMounts: [{ name: 'token', mountPath: '/token', readOnly: true }] };
  await apply(scriptPod(node, 'bearer', SERVER, { spec, container }));
  await ready('bearer');
  const value = await inPod('bearer', `console.log(require('node:fs').readFileSync('/token/token', 'utf8'))`);
  const review = async (audience: string): Promise<{ authenticated?: boolean; user: { extra?: object } }> => {
    const object = {
      apiVersion: 'authentication.k8s.io/v1',
      kind: 'TokenReview',
      spec: { token: value, audiences: [audience] },
    };
    const answer = await cluster.kubectl(['create', '-o', 'json', '-f', '-'], { stdin: JSON.stringify(object) });
    return (JSON.parse(answer) as { status: { authenticated?: boolean; user: { extra?: object } } }).status;
  };
  const [right, wrong] = await Promise.all([review('glmquota'), review('another')]);
  expect(right.authenticated).toBe(true);
  expect(right.user.extra).toMatchObject({ 'authentication.kubernetes.io/pod-name': ['bearer'] });
  expect(wrong.authenticated).not.toBe(true);
});

test('what a pod writes to a claimed volume is there for the next pod', async () => {
  const claim = {
    apiVersion: 'v1',
    kind: 'PersistentVolumeClaim',
    metadata: { name: 'store' },
    spec: { accessModes: ['ReadWriteOnce'], resources: { requests: { storage: '1Gi' } } },
  };
  const spec = { volumes: [{ name: 'store', persistentVolumeClaim: { claimName: 'store' } }] };
  const container = { volumeMounts: [{ name: 'store', mountPath: '/store' }] };
  await apply(claim, scriptPod(node, 'writer', SERVER, { spec, container }));
  await ready('writer');
  await inPod('writer', `require('node:fs').writeFileSync('/store/file', 'kept')`);
  await cluster.kubectl(['delete', 'pod', 'writer', '--wait']);
  await apply(scriptPod(node, 'reader', SERVER, { spec, container }));
  await ready('reader');
  expect(await inPod('reader', `console.log(require('node:fs').readFileSync('/store/file', 'utf8'))`)).toBe('kept');
});

test('port-forward carries requests to a pod', async () => {
  const [program = '', ...prefix] = cluster.kubectlCommand;
  const forward = spawn(program, [...prefix, 'port-forward', 'pod/first', ':8080'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  try {
    let output = '';
    forward.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()));
    const port = await waitFor('the forwarding', () => /127\.0\.0\.1:(\d+) ->/.exec(output)?.[1]);
    expect(await (await fetch(`http://127.0.0.1:${port}`)).text()).toBe('first');
  } finally {
    forward.kill();
  }
});

test('the server tells the version it was built from', async () => {
  const version = JSON.parse(await cluster.kubectl(['version', '-o', 'json'])) as {
    serverVersion: { gitVersion: string };
  };
  expect(version.serverVersion.gitVersion).toBe('v1.34.4');
});

test('a removed cluster leaves nothing on the machine', async () => {
  const started = performance.now();
  await cluster[Symbol.asyncDispose]();
  console.log(`removed after ${((performance.now() - started) / 1000).toFixed(1)} s`);
  expect(await lastingTraces(before)).toEqual([]);
});
