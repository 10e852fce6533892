/** A real etcd and kube-apiserver on loopback, without nodes: for tests of resources, admission and the operator's runtime. */
import { randomUUID } from 'node:crypto';
import { mkdir, readFile } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { ensureBinaries, type BinaryName } from '../cluster/binaries.ts';
import { connectApi, type ApiClient } from '../cluster/api-client.ts';
import type { Log } from '../cluster/cache.ts';
import { run } from '../cluster/command.ts';
import {
  apiServerArguments,
  controllerManagerArguments,
  etcdArguments,
  writeClient,
  writeCredentials,
  type ControlPlane,
  type Credentials,
} from '../cluster/control-plane.ts';
import { startDaemon, type Daemon } from '../cluster/daemon.ts';
import type { KeyPair } from '../cluster/pki.ts';
import { claimFolder, recordResidue, removeStale, stateRoot } from '../cluster/residue.ts';
import { waitOn } from '../cluster/wait.ts';
import { postWarden } from '../cluster/warden.ts';

export interface ApiServerOptions {
  /** Also runs kube-controller-manager (garbage collection, namespaces, Deployments, service accounts). Default false. */
  readonly controllerManager?: boolean;
  /** Further flags of kube-apiserver. */
  readonly extraArguments?: readonly string[];
  /** Where progress of building the programs goes. Default: standard error. */
  readonly log?: Log;
  readonly signal?: AbortSignal;
}

export interface ApiServer extends AsyncDisposable {
  /** `https://127.0.0.1:<port>`; the same after a restart. */
  readonly url: string;
  readonly caPem: string;
  /** A member of system:masters. */
  readonly admin: KeyPair;
  /** The admin's kubeconfig: YAML text, and a file with it. */
  readonly kubeconfig: string;
  readonly kubeconfigPath: string;
  /** A kubeconfig (YAML text) of another user, who has the rights RBAC gives to it. */
  kubeconfigFor(user: string, group?: string): Promise<string>;
  /** Standard output of kubectl as admin; rejects with what it wrote to standard error. */
  kubectl(args: readonly string[], stdin?: string): Promise<string>;
  /** Stops the API server without closing its connections (SIGSTOP), as a hung server would look like. */
  pause(): void;
  resume(): void;
  /** SIGKILL: connections are reset, the port refuses. */
  kill(): Promise<void>;
  /** Starts a killed API server again on the same port; resolves when it is ready. */
  start(): Promise<void>;
  /** `kill` and `start`. */
  restart(): Promise<void>;
}

/** Ports that were free a moment ago, all different. */
async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(
    Array.from({ length: count }, async () => {
      const server = createServer();
      await new Promise<void>((resolve, reject) => server.once('error', reject).listen(0, '127.0.0.1', resolve));
      return server;
    }),
  );
  const ports = servers.map((server) => (server.address() as AddressInfo).port);
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}

async function claimAny(parent: string): Promise<string> {
  for (let number = 0; ; number++) {
    const folder = join(parent, String(number));
    if (await claimFolder(folder)) return folder;
  }
}

/** What the parts of one API server share. */
interface Frame {
  readonly folder: string;
  readonly plane: ControlPlane;
  readonly controllerPort: number;
  readonly credentials: Credentials;
  readonly api: ApiClient;
  readonly binaries: Readonly<Partial<Record<BinaryName, string>>>;
  readonly options: ApiServerOptions;
}

async function prepare(folder: string, binaries: Frame['binaries'], options: ApiServerOptions): Promise<Frame> {
  const [port = 0, client = 0, peer = 0, controllerPort = 0] = await freePorts(4);
  const plane: ControlPlane = {
    folder: join(folder, 'plane'),
    address: '127.0.0.1',
    port,
    etcdPorts: [client, peer],
    serviceRange: '10.96.0.0/24',
    serviceAddress: '10.96.0.1',
  };
  await mkdir(plane.folder);
  const credentials = await writeCredentials(plane);
  const api = connectApi(credentials.url, credentials.authority.certPem, credentials.admin);
  return { folder, plane, controllerPort, credentials, api, binaries, options };
}

async function startProgram(frame: Frame, name: BinaryName, args: readonly string[]): Promise<Daemon> {
  const daemon = await startDaemon(name, [frame.binaries[name] ?? name, ...args], join(frame.folder, `${name}.log`));
  recordResidue(frame.folder, { processes: [daemon.identity] });
  return daemon;
}

type Switch = Pick<ApiServer, 'pause' | 'resume' | 'kill' | 'start' | 'restart'>;

function switchOf(frame: Frame, etcd: Daemon): Switch {
  const { options, plane, api } = frame;
  let server: Daemon | undefined;
  const start = async (): Promise<void> => {
    const started = await startProgram(frame, 'kube-apiserver', [
      ...apiServerArguments(plane),
      '--endpoint-reconciler-type=none',
      ...(options.controllerManager ? [] : ['--disable-admission-plugins=ServiceAccount']),
      ...(options.extraArguments ?? []),
    ]);
    server = started;
    await waitOn('the API server becoming ready', [etcd, started], () => api.isOk('/readyz'), options.signal);
  };
  const kill = async (): Promise<void> => {
    server?.kill('SIGKILL');
    await server?.ended;
  };
  return {
    pause: () => server?.kill('SIGSTOP'),
    resume: () => server?.kill('SIGCONT'),
    kill,
    start,
    restart: async () => {
      await kill();
      await start();
    },
  };
}

async function startControllerManager(frame: Frame): Promise<void> {
  const { plane, credentials, controllerPort, api, options } = frame;
  const name = 'kube-controller-manager';
  await writeClient(plane, credentials, { name, commonName: `system:${name}` });
  const daemon = await startProgram(frame, name, controllerManagerArguments(plane, { securePort: controllerPort }));
  const account = '/api/v1/namespaces/default/serviceaccounts/default';
  await waitOn('the default service account', [daemon], () => api.isOk(account), options.signal);
}

async function startPrograms(frame: Frame): Promise<Omit<ApiServer, typeof Symbol.asyncDispose>> {
  const { folder, plane, credentials, binaries, options } = frame;
  const etcd = await startProgram(frame, 'etcd', etcdArguments(plane));
  const lever = switchOf(frame, etcd);
  await lever.start();
  if (options.controllerManager) await startControllerManager(frame);
  const kubeconfigPath = join(plane.folder, 'admin.conf');
  const kubectl = [`--kubeconfig=${kubeconfigPath}`, `--cache-dir=${join(folder, 'kubectl')}`];
  return {
    ...lever,
    url: credentials.url,
    caPem: credentials.authority.certPem,
    admin: { certPem: credentials.admin.certPem, keyPem: credentials.admin.keyPem },
    kubeconfig: await readFile(kubeconfigPath, 'utf8'),
    kubeconfigPath,
    kubeconfigFor: async (user, group) => {
      const subject = { commonName: user, ...(group === undefined ? {} : { organization: group }) };
      const path = await writeClient(plane, credentials, { name: `user-${randomUUID()}`, ...subject });
      return readFile(path, 'utf8');
    },
    kubectl: async (args, stdin) => run(binaries.kubectl ?? 'kubectl', [...kubectl, ...args], { stdin }),
  };
}

/**
 * Starts an API server of its own (2 to 6 s when the programs are in the cache; the first time they are built).
 * Several at a time are fine. Webhooks by `url:` on 127.0.0.1 work. Disposal, and the end of this process in any way,
 * ends the programs and removes the files. Without a controller manager no service accounts exist, so their admission
 * is off and pods can be created without.
 */
export async function startApiServer(options: ApiServerOptions = {}): Promise<ApiServer> {
  const log = options.log ?? ((line: string): void => console.error(`api-server: ${line}`));
  const names: readonly BinaryName[] = ['kube-apiserver', 'etcd', 'kubectl', 'kube-controller-manager'];
  const wanted = options.controllerManager ? names : names.slice(0, 3);
  const binaries = await ensureBinaries(wanted, { log, signal: options.signal });
  const parent = join(stateRoot(), 'api-servers');
  await removeStale(parent);
  const folder = await claimAny(parent);
  const warden = await postWarden(folder);
  try {
    const programs = await startPrograms(await prepare(folder, binaries, options));
    return { ...programs, [Symbol.asyncDispose]: () => warden.dismiss() };
  } catch (error) {
    await warden.dismiss();
    throw error;
  }
}
