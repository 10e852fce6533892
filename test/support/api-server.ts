/** A real etcd and kube-apiserver on loopback, without nodes: for tests of resources, admission and the operator's runtime. */
import { mkdir, readFile } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { ensureBinaries, type BinaryName } from '../cluster/binaries.ts';
import { connectApi } from '../cluster/api-client.ts';
import type { Log } from '../cluster/cache.ts';
import { run } from '../cluster/command.ts';
import {
  apiServerArguments,
  controllerManagerArguments,
  etcdArguments,
  writeClient,
  writeCredentials,
  type ControlPlane,
} from '../cluster/control-plane.ts';
import { startDaemon, type Daemon } from '../cluster/daemon.ts';
import type { KeyPair } from '../cluster/pki.ts';
import { claimFolder, recordResidue, removeStale, stateRoot } from '../cluster/residue.ts';
import { Hopeless, waitFor } from '../cluster/wait.ts';
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
export async function freePorts(count: number): Promise<number[]> {
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

async function planControlPlane(folder: string): Promise<ControlPlane & { controllerPort: number }> {
  const [port = 0, client = 0, peer = 0, controllerPort = 0] = await freePorts(4);
  const credentials = join(folder, 'plane');
  await mkdir(credentials);
  return {
    folder: credentials,
    address: '127.0.0.1',
    port,
    etcdPorts: [client, peer],
    serviceRange: '10.96.0.0/24',
    serviceAddress: '10.96.0.1',
    controllerPort,
  };
}

/**
 * Starts an API server of its own (2 to 4 s when the programs are in the cache; the first time they are built).
 * Several at a time are fine. Webhooks by `url:` on 127.0.0.1 work. Disposal, and the end of this process in any way,
 * ends the programs and removes the files. Without a controller manager no service accounts exist, so their admission
 * is off and pods can be created without.
 */
export async function startApiServer(options: ApiServerOptions = {}): Promise<ApiServer> {
  const log = options.log ?? ((line: string): void => console.error(`api-server: ${line}`));
  const names: BinaryName[] = ['kube-apiserver', 'etcd', 'kubectl', 'kube-controller-manager'];
  const binaries = await ensureBinaries(options.controllerManager ? names : names.slice(0, 3), {
    log,
    signal: options.signal,
  });
  const parent = join(stateRoot(), 'api-servers');
  await removeStale(parent);
  const folder = await claimAny(parent);
  const warden = await postWarden(folder);
  try {
    const plane = await planControlPlane(folder);
    const credentials = await writeCredentials(plane);
    const api = connectApi(credentials.url, credentials.authority.certPem, credentials.admin);
    const daemon = async (name: BinaryName, args: readonly string[]): Promise<Daemon> => {
      const path = binaries[name];
      const started = await startDaemon(name, [path, ...args], join(folder, `${name}.log`));
      recordResidue(folder, { processes: [started.identity] });
      return started;
    };
    const etcd = await daemon('etcd', etcdArguments(plane));
    let server: Daemon | undefined;
    const start = async (): Promise<void> => {
      const started = await daemon('kube-apiserver', [
        ...apiServerArguments(plane),
        '--endpoint-reconciler-type=none',
        ...(options.controllerManager ? [] : ['--disable-admission-plugins=ServiceAccount']),
        ...(options.extraArguments ?? []),
      ]);
      server = started;
      await waitFor(
        'the API server becoming ready',
        async () => {
          for (const each of [etcd, started]) assertAlive(each);
          return api.isOk('/readyz');
        },
        { signal: options.signal },
      );
    };
    const kill = async (): Promise<void> => {
      server?.kill('SIGKILL');
      await server?.ended;
    };
    await start();
    if (options.controllerManager) {
      await writeClient(plane, credentials, {
        name: 'kube-controller-manager',
        commonName: 'system:kube-controller-manager',
      });
      await daemon('kube-controller-manager', controllerManagerArguments(plane, { securePort: plane.controllerPort }));
      await waitFor('the default service account', () =>
        api.isOk('/api/v1/namespaces/default/serviceaccounts/default'),
      );
    }
    const kubeconfigPath = join(plane.folder, 'admin.conf');
    return {
      url: credentials.url,
      caPem: credentials.authority.certPem,
      admin: { certPem: credentials.admin.certPem, keyPem: credentials.admin.keyPem },
      kubeconfig: await readFile(kubeconfigPath, 'utf8'),
      kubeconfigPath,
      kubeconfigFor: async (user, group) => {
        const subject = { commonName: user, ...(group === undefined ? {} : { organization: group }) };
        return readFile(
          await writeClient(plane, credentials, { name: `user-${crypto.randomUUID()}`, ...subject }),
          'utf8',
        );
      },
      kubectl: async (args, stdin) =>
        run(binaries.kubectl, [`--kubeconfig=${kubeconfigPath}`, `--cache-dir=${join(folder, 'kubectl')}`, ...args], {
          stdin,
        }),
      pause: () => server?.kill('SIGSTOP'),
      resume: () => server?.kill('SIGCONT'),
      kill,
      start,
      restart: async () => {
        await kill();
        await start();
      },
      [Symbol.asyncDispose]: () => warden.dismiss(),
    };
  } catch (error) {
    await warden.dismiss();
    throw error;
  }
}

function assertAlive(daemon: Daemon): void {
  try {
    daemon.assertRunning();
  } catch (error) {
    throw new Hopeless((error as Error).message);
  }
}
