/**
 * The provider for machines with a Docker engine: a thin cover around the `kind` program, which must be on the PATH.
 * Unverified: the machine it was written on has no Docker engine.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ensureBinaries } from './binaries.ts';
import type { Log } from './cache.ts';
import { clientTools } from './client-tools.ts';
import type { Cluster } from './cluster.ts';
import { run } from './command.ts';

export async function isDockerAnswering(): Promise<boolean> {
  try {
    await run('docker', ['version', '--format', '{{.Server.Version}}'], { signal: AbortSignal.timeout(5_000) });
    await run('kind', ['version']);
    return true;
  } catch {
    return false;
  }
}

/** Unverified. A process that is killed leaves the kind cluster behind; `kind delete cluster` removes it. */
export async function startKind(options: { log: Log; signal: AbortSignal | undefined }): Promise<Cluster> {
  const programs = await ensureBinaries(['kubectl', 'helm'], options);
  const folder = await mkdtemp(join(tmpdir(), 'glmquota-kind-'));
  const kubeconfigPath = join(folder, 'kubeconfig');
  const name = `glmquota-${process.pid}`;
  const remove = async (): Promise<void> => {
    await run('kind', ['delete', 'cluster', '--name', name]);
    await rm(folder, { recursive: true, force: true });
  };
  try {
    options.log(`starting the kind cluster ${name}`);
    await run('kind', ['create', 'cluster', '--name', name, '--kubeconfig', kubeconfigPath, '--wait', '120s'], {
      signal: options.signal,
    });
    const tools = clientTools(programs, folder, kubeconfigPath);
    const jsonpath = '{.clusters[0].cluster.server}';
    const apiServerUrl = await tools.kubectl(['config', 'view', '-o', `jsonpath=${jsonpath}`]);
    const gateway = '{{range .IPAM.Config}}{{.Gateway}} {{end}}';
    const gateways = await run('docker', ['network', 'inspect', 'kind', '--format', gateway]);
    let isKept = false;
    return {
      name,
      kubeconfigPath,
      apiServerUrl,
      hostAddress: gateways.split(' ').find((each) => each.includes('.')) ?? '',
      ...tools,
      loadImage: async (archive) => void (await run('kind', ['load', 'image-archive', archive, '--name', name])),
      keep: async () => {
        isKept = true;
        return `kind delete cluster --name ${name}`;
      },
      [Symbol.asyncDispose]: async () => {
        if (!isKept) await remove();
      },
    };
  } catch (error) {
    await remove();
    throw error;
  }
}
