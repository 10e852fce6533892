/** kubectl and helm against one cluster, with their caches in the cluster's folder. */
import { join } from 'node:path';
import type { Cluster, KubectlOptions } from './cluster.ts';
import { run } from './command.ts';

type ClientTools = Pick<Cluster, 'kubectlCommand' | 'kubectl' | 'helm'>;

export function clientTools(
  programs: { readonly kubectl: string; readonly helm: string },
  folder: string,
  kubeconfigPath: string,
): ClientTools {
  const kubectlCommand = [
    programs.kubectl,
    `--kubeconfig=${kubeconfigPath}`,
    `--cache-dir=${join(folder, 'kubectl')}`,
  ] as const;
  const [program, ...prefix] = kubectlCommand;
  const helmFolders = Object.fromEntries(
    ['CACHE', 'CONFIG', 'DATA'].map((each) => [`HELM_${each}_HOME`, join(folder, 'helm', each.toLowerCase())]),
  );
  return {
    kubectlCommand,
    kubectl: async (args, options: KubectlOptions = {}) => run(program, [...prefix, ...args], options),
    helm: async (args, options: KubectlOptions = {}) =>
      run(programs.helm, [`--kubeconfig=${kubeconfigPath}`, ...args], {
        ...options,
        env: { ...process.env, ...helmFolders },
      }),
  };
}
