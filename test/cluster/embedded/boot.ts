/** Starts a cluster's programs inside its namespace, each as early as what it needs is there. */
import { connect } from 'node:net';
import { join } from 'node:path';
import { writeFile } from 'node:fs/promises';
import { connectApi, type ApiClient } from '../api-client.ts';
import type { Binaries, BinaryName } from '../binaries.ts';
import { run } from '../command.ts';
import {
  apiServerArguments,
  controllerManagerArguments,
  etcdArguments,
  writeClient,
  writeCredentials,
  type ControlPlane,
  type Credentials,
} from '../control-plane.ts';
import { startDaemon, type Daemon } from '../daemon.ts';
import { issue } from '../pki.ts';
import { waitOn } from '../wait.ts';
import type { Namespace } from './namespace.ts';
import { containerdSocket } from './node-config.ts';
import type { Slot } from './slot.ts';
import { createVolumes } from './volumes.ts';

export interface Boot {
  readonly slot: Slot;
  readonly namespace: Namespace;
  readonly binaries: Binaries;
  readonly signal: AbortSignal | undefined;
}

export const planeOf = (slot: Slot): ControlPlane => ({
  folder: join(slot.folder, 'plane'),
  address: slot.nodeAddress,
  port: 6443,
  etcdPorts: [2379, 2380],
  serviceRange: slot.serviceRange,
  serviceAddress: slot.serviceAddress,
});

/** The control plane's credentials and one client each for what talks to it. */
export async function writeClusterCredentials(slot: Slot): Promise<Credentials> {
  const plane = planeOf(slot);
  const credentials = await writeCredentials(plane);
  const node = { commonName: `system:node:${slot.name}`, organization: 'system:nodes' };
  const kubelet = await issue(credentials.authority, {
    ...node,
    usage: 'server',
    dnsNames: [slot.name],
    ipAddresses: [slot.nodeAddress, '127.0.0.1'],
  });
  await Promise.all([
    writeFile(join(plane.folder, 'kubelet-server.crt'), kubelet.certPem),
    writeFile(join(plane.folder, 'kubelet-server.key'), kubelet.keyPem, { mode: 0o600 }),
    writeClient(plane, credentials, { name: 'kubelet', ...node }),
    ...['kube-controller-manager', 'kube-scheduler', 'kube-proxy'].map((name) =>
      writeClient(plane, credentials, { name, commonName: `system:${name}` }),
    ),
    writeClient(plane, credentials, { name: 'coredns', commonName: 'coredns', organization: 'system:masters' }),
  ]);
  return credentials;
}

async function start(boot: Boot, name: BinaryName | 'containerd', args: readonly string[]): Promise<Daemon> {
  const program = name === 'containerd' ? name : boot.binaries[name];
  return startDaemon(name, boot.namespace.enter([program, ...args]), join(boot.slot.folder, `${name}.log`));
}

async function isListening(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false));
    socket.once('connect', () => socket.destroy());
  });
}

export async function importImage(slot: Slot, archive: string, signal?: AbortSignal): Promise<void> {
  const ctr = ['--address', containerdSocket(slot), '--namespace', 'k8s.io'];
  await run('ctr', [...ctr, 'images', 'import', '--snapshotter', 'overlayfs', archive], { signal });
}

async function startRuntime(boot: Boot, images: readonly string[]): Promise<Daemon> {
  const containerd = await start(boot, 'containerd', ['--config', join(boot.slot.folder, 'containerd.toml')]);
  await waitOn('containerd listening', [containerd], () => isListening(containerdSocket(boot.slot)), boot.signal);
  for (const archive of images) await importImage(boot.slot, archive, boot.signal);
  return containerd;
}

async function startControlPlane(boot: Boot, api: ApiClient): Promise<Daemon[]> {
  const plane = planeOf(boot.slot);
  const etcd = await start(boot, 'etcd', etcdArguments(plane));
  const server = await start(boot, 'kube-apiserver', apiServerArguments(plane));
  await waitOn('the API server becoming ready', [etcd, server], () => api.isOk('/readyz'), boot.signal);
  const controllers = await start(
    boot,
    'kube-controller-manager',
    controllerManagerArguments(plane, { securePort: 10257 }),
  );
  const configuration = join(plane.folder, 'kube-scheduler.conf');
  const scheduler = await start(boot, 'kube-scheduler', [
    `--config=${join(boot.slot.folder, 'kube-scheduler.yaml')}`,
    `--authentication-kubeconfig=${configuration}`,
    `--authorization-kubeconfig=${configuration}`,
    '--bind-address=127.0.0.1',
  ]);
  const dns = await start(boot, 'coredns', ['-conf', join(boot.slot.folder, 'Corefile')]);
  const proxy = await start(boot, 'kube-proxy', [`--config=${join(boot.slot.folder, 'kube-proxy.yaml')}`]);
  return [etcd, server, controllers, scheduler, dns, proxy];
}

async function startKubelet(boot: Boot): Promise<Daemon> {
  const { slot } = boot;
  return start(boot, 'kubelet', [
    `--config=${join(slot.folder, 'kubelet.yaml')}`,
    `--kubeconfig=${join(slot.folder, 'plane/kubelet.conf')}`,
    `--root-dir=${join(slot.folder, 'kubelet')}`,
    `--hostname-override=${slot.name}`,
    `--node-ip=${slot.nodeAddress}`,
  ]);
}

interface NodeStatus {
  readonly status: { readonly conditions: readonly { readonly type: string; readonly status: string }[] };
}

async function isNodeReady(api: ApiClient, slot: Slot): Promise<boolean> {
  const { status } = await api.get<NodeStatus>(`/api/v1/nodes/${slot.name}`);
  return status.conditions.some((each) => each.type === 'Ready' && each.status === 'True');
}

/** 200 of a port on the namespace's loopback, asked from inside with a shell, for nothing else reaches it. */
async function isHealthyInside(boot: Boot, port: number, path: string): Promise<boolean> {
  const probe = `exec 3<>/dev/tcp/127.0.0.1/${port} && printf 'GET ${path} HTTP/1.0\\r\\n\\r\\n' >&3 && head -n1 <&3`;
  const [program = '', ...args] = boot.namespace.enter(['timeout', '2', 'bash', '-c', probe]);
  return (await run(program, args)).includes(' 200 ');
}

/** Resolves when the node is ready, the default service account exists, names resolve and Services are routed. */
export async function bootCluster(boot: Boot, credentials: Credentials, images: readonly string[]): Promise<void> {
  const api = connectApi(credentials.url, credentials.authority.certPem, credentials.admin);
  const [containerd, plane] = await Promise.all([startRuntime(boot, images), startControlPlane(boot, api)]);
  const daemons = [containerd, ...plane, await startKubelet(boot)];
  const serviceAccount = '/api/v1/namespaces/default/serviceaccounts/default';
  await Promise.all([
    createVolumes(api, boot.slot),
    waitOn('the node becoming ready', daemons, () => isNodeReady(api, boot.slot), boot.signal),
    waitOn('the default service account', daemons, () => api.isOk(serviceAccount), boot.signal),
    waitOn('the DNS becoming ready', daemons, () => isHealthyInside(boot, 8181, '/ready'), boot.signal),
    waitOn('kube-proxy becoming healthy', daemons, () => isHealthyInside(boot, 10256, '/healthz'), boot.signal),
  ]);
}
