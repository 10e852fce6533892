/** Credentials and command lines of etcd, the API server and the controller manager, for clusters and for API server tests alike. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createAuthority, createSigningKey, issue, type Authority, type KeyPair } from './pki.ts';
import { renderKubeconfig } from './kubeconfig.ts';

export interface ControlPlane {
  /** Holds keys, kubeconfigs and etcd's files. */
  readonly folder: string;
  /** Where the API server listens and clients reach it. */
  readonly address: string;
  readonly port: number;
  /** Two ports on loopback. */
  readonly etcdPorts: readonly [number, number];
  readonly serviceRange: string;
  /** First address of the service range: the API server's own Service. */
  readonly serviceAddress: string;
}

export interface Credentials {
  readonly authority: Authority;
  readonly frontProxy: Authority;
  readonly admin: KeyPair;
  readonly url: string;
}

const apiServerUrl = ({ address, port }: ControlPlane): string => `https://${address}:${port}`;

async function writePair(folder: string, name: string, pair: KeyPair): Promise<void> {
  await Promise.all([
    writeFile(join(folder, `${name}.crt`), pair.certPem),
    writeFile(join(folder, `${name}.key`), pair.keyPem, { mode: 0o600 }),
  ]);
}

/** Makes and writes what the control plane's own programs need: authorities, server and client pairs, signing keys. */
export async function writeCredentials(plane: ControlPlane): Promise<Credentials> {
  const { folder } = plane;
  const [authority, frontProxy, signing] = await Promise.all([
    createAuthority('kubernetes-ca'),
    createAuthority('front-proxy-ca'),
    createSigningKey(),
  ]);
  const service = 'kubernetes.default.svc';
  const [admin, server, toKubelet, proxy] = await Promise.all([
    issue(authority, { commonName: 'kubernetes-admin', organization: 'system:masters', usage: 'client' }),
    issue(authority, {
      commonName: 'kube-apiserver',
      usage: 'server',
      dnsNames: ['localhost', 'kubernetes', 'kubernetes.default', service, `${service}.cluster.local`],
      ipAddresses: [...new Set(['127.0.0.1', plane.address, plane.serviceAddress])],
    }),
    issue(authority, {
      commonName: 'kube-apiserver-kubelet-client',
      organization: 'system:masters',
      usage: 'client',
    }),
    issue(frontProxy, { commonName: 'front-proxy-client', usage: 'client' }),
  ]);
  await Promise.all([
    writePair(folder, 'ca', authority),
    writePair(folder, 'front-proxy-ca', frontProxy),
    writePair(folder, 'apiserver', server),
    writePair(folder, 'apiserver-kubelet-client', toKubelet),
    writePair(folder, 'front-proxy-client', proxy),
    writeFile(join(folder, 'sa.key'), signing.privatePem, { mode: 0o600 }),
    writeFile(join(folder, 'sa.pub'), signing.publicPem),
  ]);
  const credentials = { authority, frontProxy, admin, url: apiServerUrl(plane) };
  await writeFile(join(folder, 'admin.conf'), renderKubeconfig(credentials.url, authority.certPem, admin), {
    mode: 0o600,
  });
  return credentials;
}

/** Issues a client of the API server and writes its kubeconfig. Returns the path. */
export async function writeClient(
  plane: ControlPlane,
  { authority, url }: Credentials,
  client: { readonly name: string; readonly commonName: string; readonly organization?: string },
): Promise<string> {
  const { name, ...subject } = client;
  const pair = await issue(authority, { ...subject, usage: 'client' });
  const path = join(plane.folder, `${name}.conf`);
  await writeFile(path, renderKubeconfig(url, authority.certPem, pair), { mode: 0o600 });
  return path;
}

/** No fsync: a test's etcd need not survive a power cut, and it halves the start. */
export function etcdArguments({ folder, etcdPorts: [client, peer] }: ControlPlane): string[] {
  const peerUrl = `http://127.0.0.1:${peer}`;
  const clientUrl = `http://127.0.0.1:${client}`;
  return [
    '--name=etcd',
    `--data-dir=${join(folder, 'etcd')}`,
    '--unsafe-no-fsync',
    `--listen-client-urls=${clientUrl}`,
    `--advertise-client-urls=${clientUrl}`,
    `--listen-peer-urls=${peerUrl}`,
    `--initial-advertise-peer-urls=${peerUrl}`,
    `--initial-cluster=etcd=${peerUrl}`,
    '--log-level=warn',
  ];
}

/** Address and port are shared, so that a restart right after a kill need not wait for the kernel to let go of them. */
export function apiServerArguments(plane: ControlPlane): string[] {
  const file = (name: string): string => join(plane.folder, name);
  return [
    `--etcd-servers=http://127.0.0.1:${plane.etcdPorts[0]}`,
    `--bind-address=${plane.address}`,
    `--advertise-address=${plane.address}`,
    `--secure-port=${plane.port}`,
    '--permit-address-sharing=true',
    '--permit-port-sharing=true',
    `--service-cluster-ip-range=${plane.serviceRange}`,
    `--tls-cert-file=${file('apiserver.crt')}`,
    `--tls-private-key-file=${file('apiserver.key')}`,
    `--client-ca-file=${file('ca.crt')}`,
    `--service-account-key-file=${file('sa.pub')}`,
    `--service-account-signing-key-file=${file('sa.key')}`,
    '--service-account-issuer=https://kubernetes.default.svc.cluster.local',
    '--authorization-mode=Node,RBAC',
    '--enable-admission-plugins=NodeRestriction',
    `--requestheader-client-ca-file=${file('front-proxy-ca.crt')}`,
    '--requestheader-allowed-names=front-proxy-client',
    '--requestheader-extra-headers-prefix=X-Remote-Extra-',
    '--requestheader-group-headers=X-Remote-Group',
    '--requestheader-username-headers=X-Remote-User',
    `--proxy-client-cert-file=${file('front-proxy-client.crt')}`,
    `--proxy-client-key-file=${file('front-proxy-client.key')}`,
    `--kubelet-client-certificate=${file('apiserver-kubelet-client.crt')}`,
    `--kubelet-client-key=${file('apiserver-kubelet-client.key')}`,
    `--kubelet-certificate-authority=${file('ca.crt')}`,
    '--kubelet-preferred-address-types=InternalIP,Hostname',
    '--allow-privileged=true',
    '--enable-aggregator-routing=true',
    '--profiling=false',
    '--shutdown-delay-duration=0s',
  ];
}

/** Start it after `/readyz`: earlier it ends because its own rights do not exist yet. */
export function controllerManagerArguments(plane: ControlPlane, options: { securePort: number }): string[] {
  const file = (name: string): string => join(plane.folder, name);
  const config = file('kube-controller-manager.conf');
  return [
    `--kubeconfig=${config}`,
    `--authentication-kubeconfig=${config}`,
    `--authorization-kubeconfig=${config}`,
    '--bind-address=127.0.0.1',
    `--secure-port=${options.securePort}`,
    // The default of 20 requests a second makes the first service account come 5 s later.
    '--kube-api-qps=1000',
    '--kube-api-burst=2000',
    '--concurrent-gc-syncs=20',
    `--root-ca-file=${file('ca.crt')}`,
    `--service-account-private-key-file=${file('sa.key')}`,
    `--cluster-signing-cert-file=${file('ca.crt')}`,
    `--cluster-signing-key-file=${file('ca.key')}`,
    '--use-service-account-credentials=true',
    '--leader-elect=false',
    `--service-cluster-ip-range=${plane.serviceRange}`,
    '--profiling=false',
  ];
}
