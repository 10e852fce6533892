/** The product installed on a real cluster beside a simulated vendor, with accounts and agents for tests made on demand. */
import { startCluster, type Cluster } from '../cluster/cluster.ts';
import type { SimulatorControl } from './glm-simulator/control.ts';
import { type Images, installChart, loadImages, type Log } from './installation.ts';
import { startVendor, type VendorInCluster } from './vendor-in-cluster.ts';

export interface Platform extends AsyncDisposable {
  readonly cluster: Cluster;
  readonly images: Images;
  readonly vendor: VendorInCluster;
  readonly log: Log;
  /** How long `helm install --wait` took. */
  readonly installMs: number;
}

/** One object as kubectl takes it. */
export interface Manifest {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly labels?: Readonly<Record<string, string>>;
    readonly annotations?: Readonly<Record<string, string>>;
  };
  readonly [field: string]: unknown;
}

export const GROUP = 'glmquota.io/v1alpha1';
export const OPERATOR_NAMESPACE = 'glmquota';

/**
 * Starts a cluster, the vendor and, with `helm install --wait`, the product. With `GLMQUOTA_KEEP=1` the cluster outlives
 * the tests and the log says how to reach and to remove it.
 */
export async function startPlatform(log: Log): Promise<Platform> {
  await using stack = new AsyncDisposableStack();
  const cluster = stack.use(await startCluster({ log }));
  const images = await loadImages(cluster, log);
  const vendor = await startVendor(cluster, images['glm-simulator'], { accounts: [] });
  const started = performance.now();
  await installChart(cluster, images, { allowedOrigins: [vendor.origin] });
  const installMs = performance.now() - started;
  log(`helm install --wait took ${(installMs / 1000).toFixed(1)} s`);
  if (process.env['GLMQUOTA_KEEP'] === '1') {
    log(`kept: export KUBECONFIG=${cluster.kubeconfigPath}; ${await cluster.keep()} removes it`);
  }
  const owned = stack.move();
  return { cluster, images, vendor, log, installMs, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

export async function apply({ cluster }: Pick<Platform, 'cluster'>, ...objects: readonly Manifest[]): Promise<void> {
  await cluster.kubectl(['apply', '-f', '-'], { stdin: objects.map((each) => JSON.stringify(each)).join('\n---\n') });
}

/** Output of kubectl, or what it said when it refused. */
export async function attempt(
  { cluster }: Pick<Platform, 'cluster'>,
  args: readonly string[],
  stdin?: string,
): Promise<string> {
  return cluster.kubectl(args, stdin === undefined ? {} : { stdin }).catch((reason: Error) => reason.message);
}

export async function getJson<T>({ cluster }: Pick<Platform, 'cluster'>, ...args: readonly string[]): Promise<T> {
  return JSON.parse(await cluster.kubectl(['get', ...args, '-o', 'json'])) as T;
}

export interface TenantOptions {
  /** Calls in flight, at the vendor and in the account. Default 4. */
  readonly concurrency?: number;
  /** Prompts of the plan's window, at the vendor and in the plan. Default 100,000. */
  readonly prompts?: number;
  /** Merged over the account's spec. */
  readonly account?: Readonly<Record<string, unknown>>;
  /** Of the GLMQuota `team`. */
  readonly quota?: Readonly<Record<string, unknown>>;
}

/** One vendor account with its namespace, GLMAccount `main` and GLMQuota `team`, all of one name. */
export interface Tenant {
  readonly name: string;
  readonly key: string;
}

const WINDOW_MS = 3_600_000;

export function namespaceObject(name: string, labels: Readonly<Record<string, string>> = {}): Manifest {
  return { apiVersion: 'v1', kind: 'Namespace', metadata: { name, labels } };
}

export function quotaObject(namespace: string, name: string, spec: Readonly<Record<string, unknown>>): Manifest {
  return { apiVersion: GROUP, kind: 'GLMQuota', metadata: { name, namespace }, spec };
}

export function credentialObject(namespace: string, name: string, data: Readonly<Record<string, string>>): Manifest {
  const metadata = { name, namespace };
  return { apiVersion: 'v1', kind: 'Secret', type: 'glmquota.io/credential', metadata, stringData: data };
}

export function accountObject(namespace: string, name: string, spec: Readonly<Record<string, unknown>> = {}): Manifest {
  const defaults = {
    billing: 'CodingPlan',
    region: 'Custom',
    credentialSecretRef: { name: 'glm-key' },
    rate: { requestsPerSecond: '500', burst: 500 },
    // Tests look at refusals; those of the waiting room say so.
    waiting: { mode: 'Reject' },
  };
  return { apiVersion: GROUP, kind: 'GLMAccount', metadata: { name, namespace }, spec: { ...defaults, ...spec } };
}

function catalogObject(tenant: string, prompts: number): Manifest {
  const limits = [{ name: 'five-hour', amount: prompts, duration: `${WINDOW_MS / 1000}s` }];
  const plans = [{ name: 'Small', generation: 'Prompts', unit: 'Prompts', limits }];
  return {
    apiVersion: GROUP,
    kind: 'GLMCatalog',
    metadata: { name: `plans-of-${tenant}` },
    spec: { extends: 'default', plans },
  };
}

/** Makes the vendor account and our objects for it, and waits until the quota is Ready. */
export async function createTenant(platform: Platform, name: string, options: TenantOptions = {}): Promise<Tenant> {
  const { concurrency = 4, prompts = 100_000 } = options;
  const key = `${name}-key.${name}-vendor-secret`;
  const window = { name: 'five-hour', resource: 'Prompts' as const, amount: prompts, durationMs: WINDOW_MS };
  await vendorOf(platform).putAccount({
    id: name,
    keys: [key],
    billing: 'CodingPlan',
    windows: [window],
    concurrency: { default: concurrency },
  });
  const { origin, caPem } = platform.vendor;
  await apply(platform, namespaceObject(name));
  await apply(
    platform,
    credentialObject(name, 'glm-key', { apiKey: key, origin, 'ca.crt': caPem }),
    catalogObject(name, prompts),
    accountObject(name, 'main', {
      plan: { name: 'Small', generation: 'Prompts' },
      catalogRef: { name: `plans-of-${name}` },
      concurrency: { mode: 'Fixed', max: concurrency },
      ...options.account,
    }),
    quotaObject(name, 'team', { accountRef: { name: 'main' }, ...options.quota }),
  );
  await platform.cluster.kubectl(['wait', 'glmq/team', '-n', name, '--for=condition=Ready', '--timeout=60s']);
  return { name, key };
}

export function vendorOf(platform: Platform): SimulatorControl {
  return platform.vendor.control;
}

/** What the vendor accepted and refused under the tenant's key. */
export async function vendorCount(platform: Platform, tenant: Tenant): Promise<{ accepted: number; refused: number }> {
  const rows = (await vendorOf(platform).report()).rows.filter(({ account }) => account === tenant.name);
  const refusals = rows.flatMap(({ refused }) => Object.values(refused));
  const sum = (counts: readonly number[]): number => counts.reduce((total, count) => total + count, 0);
  return { accepted: sum(rows.map(({ accepted }) => accepted)), refused: sum(refusals) };
}
