/** A Kubernetes cluster for tests and demo: one interface, two providers. */
import type { Log } from './cache.ts';
import { startEmbedded } from './embedded/embedded.ts';
import { isDockerAnswering, startKind } from './kind.ts';

export interface ClusterOptions {
  /** Where progress goes. Default: standard error. */
  readonly log?: Log;
  readonly signal?: AbortSignal;
  /** Default: kind when a Docker engine answers, else embedded. `GLMQUOTA_CLUSTER` overrides. */
  readonly provider?: 'kind' | 'embedded';
}

export interface KubectlOptions {
  readonly stdin?: string;
  readonly signal?: AbortSignal;
}

export interface Cluster extends AsyncDisposable {
  readonly name: string;
  /** A file; the user is a member of system:masters. */
  readonly kubeconfigPath: string;
  readonly apiServerUrl: string;
  /** Where pods and the API server reach programs of this machine that listen on all addresses or on this one. */
  readonly hostAddress: string;
  /** The program and its first arguments, for commands that run long (`logs -f`, `port-forward`) and for people. */
  readonly kubectlCommand: readonly string[];
  /** Standard output of kubectl; rejects with what it wrote to standard error. */
  kubectl(args: readonly string[], options?: KubectlOptions): Promise<string>;
  /** Standard output of helm; rejects with what it wrote to standard error. */
  helm(args: readonly string[], options?: KubectlOptions): Promise<string>;
  /** Puts an OCI archive (`images/images.ts`) into the node's image store. Pods must not pull: Never or IfNotPresent. */
  loadImage(archive: string): Promise<void>;
  /** Lets the cluster outlive this process; disposal then does nothing. Returns the command that removes it. */
  keep(): Promise<string>;
}

async function chooseProvider(): Promise<'kind' | 'embedded'> {
  const { GLMQUOTA_CLUSTER: wanted } = process.env;
  if (wanted === 'kind' || wanted === 'embedded') return wanted;
  if (wanted) throw new Error(`GLMQUOTA_CLUSTER is "${wanted}"; it may be kind or embedded`);
  return (await isDockerAnswering()) ? 'kind' : 'embedded';
}

/**
 * Starts a cluster and resolves when its node is ready, services resolve and a default StorageClass binds claims.
 * Disposal, and the end of this process in any way, removes everything it made on this machine.
 */
export async function startCluster(options: ClusterOptions = {}): Promise<Cluster> {
  const settings = {
    log: options.log ?? ((line: string): void => console.error(`cluster: ${line}`)),
    signal: options.signal,
  };
  const provider = options.provider ?? (await chooseProvider());
  return provider === 'kind' ? startKind(settings) : startEmbedded(settings);
}
