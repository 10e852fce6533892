import { connect } from 'node:net';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startCluster, type Cluster } from '#test/cluster/cluster.ts';
import type { ImageName } from '#test/cluster/images/contents.ts';
import { ensureImage, type Image } from '#test/cluster/images/images.ts';
import { waitFor } from '#test/cluster/wait.ts';

let cluster: Cluster;

const log = (line: string): void => console.log(line);

beforeAll(async () => {
  cluster = await startCluster({ log });
});

afterAll(async () => {
  await cluster?.[Symbol.asyncDispose]();
});

async function load(name: ImageName): Promise<Image> {
  const image = await ensureImage(name, { log });
  await cluster.loadImage(image.archive);
  return image;
}

/** Under the restricted profile, with a root that cannot be written; the user is the image's own. */
async function runPod(name: string, image: Image, container: object = {}, spec: object = {}): Promise<void> {
  const restricted = {
    allowPrivilegeEscalation: false,
    readOnlyRootFilesystem: true,
    runAsNonRoot: true,
    runAsUser: 65532,
    capabilities: { drop: ['ALL'] },
    seccompProfile: { type: 'RuntimeDefault' },
  };
  const main = {
    name,
    image: image.reference,
    imagePullPolicy: 'IfNotPresent',
    securityContext: restricted,
    ...container,
  };
  const pod = {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name },
    spec: { restartPolicy: 'Never', terminationGracePeriodSeconds: 1, containers: [main], ...spec },
  };
  await cluster.kubectl(['apply', '-f', '-'], { stdin: JSON.stringify(pod) });
}

async function addressOf(pod: string): Promise<string> {
  await cluster.kubectl(['wait', '--for=condition=Ready', '--timeout=60s', `pod/${pod}`]);
  return cluster.kubectl(['get', 'pod', pod, '-o', 'jsonpath={.status.podIP}']);
}

/** Exit codes of pods that fail. */
async function failures(pods: readonly string[]): Promise<number[]> {
  const names = pods.map((pod) => `pod/${pod}`);
  await cluster.kubectl(['wait', '--for=jsonpath={.status.phase}=Failed', '--timeout=120s', ...names]);
  const path = '{.status.containerStatuses[0].state.terminated.exitCode}';
  const codes = pods.map((pod) => cluster.kubectl(['get', 'pod', pod, '-o', `jsonpath=${path}`]));
  return (await Promise.all(codes)).map(Number);
}

test('the redis image serves with its data on a volume', async () => {
  const image = await load('redis');
  const args = ['--port', '6379', '--dir', '/data', '--appendonly', 'yes', '--protected-mode', 'no'];
  const volumeMounts = [{ name: 'data', mountPath: '/data' }];
  await runPod('redis', image, { args, volumeMounts }, { volumes: [{ name: 'data', emptyDir: {} }] });
  const socket = connect(6379, await addressOf('redis'));
  let answer = '';
  socket.on('data', (chunk: Buffer) => (answer += chunk.toString()));
  socket.write('PING\r\n');
  await waitFor('an answer', () => answer !== '');
  socket.destroy();
  expect(answer).toBe('+PONG\r\n');
});

test('the simulator image serves', async () => {
  const image = await load('glm-simulator');
  const args = ['--host', '0.0.0.0', '--port', '8080', '--control-port', '9090'];
  const readinessProbe = { httpGet: { path: '/__sim/health', port: 9090 }, periodSeconds: 1 };
  await runPod('simulator', image, { args, readinessProbe });
  const response = await fetch(`http://${await addressOf('simulator')}:9090/__sim/health`);
  expect(response.status).toBe(200);
});

test('the product image knows its roles, and each says what configuration it lacks', async () => {
  const image = await load('glmquota');
  const roles = ['sidecar', 'controller', 'edge', 'unknown'];
  await Promise.all(roles.map((role) => runPod(role, image, { args: [role] })));
  const codes = await failures(roles);
  const logs = await Promise.all(roles.map((role) => cluster.kubectl(['logs', role])));
  expect(codes[3]).toBe(64);
  expect(logs[3]).toContain('sidecar|controller|edge');
  // A message about configuration shows that the role's bundle loads.
  for (const log of logs.slice(0, 3)) expect(log).toMatch(/GLMQUOTA_\w+.* required/);
  expect(codes.slice(0, 3)).not.toContain(0);
});
