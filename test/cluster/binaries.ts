/** The cluster's programs, built from their Go modules (`binaries/<module>`) into the cache when missing. */
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { cacheRoot, publish, withLock, type Log } from './cache.ts';
import { run } from './command.ts';

interface Recipe {
  /** Folder under `binaries/` that holds the wrapper module. */
  readonly module: string;
  readonly package: string;
  readonly ldflags: string;
}

const KUBERNETES_VERSION = {
  gitVersion: 'v1.34.4',
  gitMajor: '1',
  gitMinor: '34',
  gitTreeState: 'clean',
  gitCommit: '0000000000000000000000000000000000000000',
  buildDate: '2026-02-10T12:53:36Z',
};

function set(packages: readonly string[], values: Record<string, string>): string {
  return packages
    .flatMap((each) => Object.entries(values).map(([name, value]) => `-X ${each}.${name}=${value}`))
    .join(' ');
}

/** Without a version kubectl and version detection misread the server. */
const kubernetes = (name: string): Recipe => ({
  module: 'kubernetes',
  package: `k8s.io/kubernetes/cmd/${name}`,
  ldflags: set(['k8s.io/component-base/version', 'k8s.io/client-go/pkg/version'], KUBERNETES_VERSION),
});

/** Helm tells charts the Kubernetes version it was linked with. */
const helmVersions = [
  set(['helm.sh/helm/v3/pkg/chartutil', 'helm.sh/helm/v3/pkg/lint/rules'], {
    k8sVersionMajor: '1',
    k8sVersionMinor: '34',
  }),
  set(['helm.sh/helm/v3/internal/version'], { version: 'v3.22.0' }),
].join(' ');

/** In the order they are built: what most tests wait for comes first. */
const RECIPES = {
  'kube-apiserver': kubernetes('kube-apiserver'),
  etcd: { module: 'etcd', package: 'go.etcd.io/etcd/server/v3', ldflags: '' },
  kubectl: kubernetes('kubectl'),
  'kube-controller-manager': kubernetes('kube-controller-manager'),
  'kube-scheduler': kubernetes('kube-scheduler'),
  kubelet: kubernetes('kubelet'),
  'kube-proxy': kubernetes('kube-proxy'),
  coredns: { module: 'coredns', package: '.', ldflags: '' },
  helm: { module: 'helm', package: 'helm.sh/helm/v3/cmd/helm', ldflags: helmVersions },
  pause: { module: 'pause', package: '.', ldflags: '' },
} as const satisfies Record<string, Recipe>;

export type BinaryName = keyof typeof RECIPES;
export const BINARY_NAMES = Object.keys(RECIPES) as BinaryName[];
export type Binaries = Readonly<Record<BinaryName, string>>;

const FLAGS = ['-mod=readonly', '-buildvcs=false', '-trimpath'];

function moduleFolder(recipe: Recipe): string {
  return join(import.meta.dirname, 'binaries', recipe.module);
}

function binaryPath(name: BinaryName): string {
  const recipe: Recipe = RECIPES[name];
  const hash = createHash('sha256').update(JSON.stringify([process.arch, FLAGS, recipe]));
  const folder = moduleFolder(recipe);
  for (const file of readdirSync(folder).toSorted())
    hash.update(`\0${file}\0`).update(readFileSync(join(folder, file)));
  return join(cacheRoot(), 'bin', hash.digest('hex').slice(0, 16), name);
}

async function build(name: BinaryName, target: string, signal: AbortSignal | undefined): Promise<void> {
  const recipe: Recipe = RECIPES[name];
  await publish(target, async (partial) => {
    await run(
      'go',
      ['build', ...FLAGS, '-ldflags', `-s -w -buildid= ${recipe.ldflags}`, '-o', partial, recipe.package],
      { cwd: moduleFolder(recipe), env: { ...process.env, CGO_ENABLED: '0', GOFLAGS: '', GOWORK: 'off' }, signal },
    );
  });
}

/**
 * Paths of the named programs, built first where the cache lacks them (all of them: about seven minutes on two cores).
 * `log` gets a line before and after each build. Safe to call from several processes: one builds, the others wait.
 */
export async function ensureBinaries<N extends BinaryName>(
  names: readonly N[],
  options: { readonly log: Log; readonly signal?: AbortSignal | undefined },
): Promise<Readonly<Record<N, string>>> {
  const paths = Object.fromEntries(names.map((name) => [name, binaryPath(name)])) as Record<N, string>;
  const isMissing = (name: N): boolean => !existsSync(paths[name]);
  if (!names.some(isMissing)) return paths;
  await withLock(join(cacheRoot(), 'bin', 'lock'), options, async () => {
    const missing = BINARY_NAMES.filter((name): name is N => names.includes(name as N) && isMissing(name as N));
    const started = performance.now();
    const elapsed = (): string => `${Math.round((performance.now() - started) / 1000)} s`;
    for (const [index, name] of missing.entries()) {
      options.log(`building ${name} (${index + 1} of ${missing.length}, once; ${elapsed()} so far)`);
      await build(name, paths[name], options.signal);
    }
    if (missing.length > 0) options.log(`built ${missing.length} programs in ${elapsed()}`);
  });
  return paths;
}
