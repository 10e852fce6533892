/** Renders the chart with the real helm, for tests that need some of its objects. */
import { resolve } from 'node:path';
import { ensureBinaries } from '../cluster/binaries.ts';
import { run } from '../cluster/command.ts';

const CHART = resolve(import.meta.dirname, '../../charts/glmquota');

export interface RenderOptions {
  /** `--set` values. */
  readonly set?: Readonly<Record<string, string>>;
  /** Only these files of `templates/`; default: all. */
  readonly templates?: readonly string[];
  readonly namespace?: string;
}

/** The YAML documents that `helm template glmquota` prints. Rejects with helm's own message. */
export async function renderChart(options: RenderOptions = {}): Promise<string> {
  const { helm } = await ensureBinaries(['helm'], { log: (line) => console.error(`helm: ${line}`) });
  const only = (options.templates ?? []).flatMap((file) => ['--show-only', `templates/${file}`]);
  const set = Object.entries(options.set ?? {}).flatMap(([key, value]) => ['--set', `${key}=${value}`]);
  const namespace = options.namespace ?? 'glmquota';
  return run(helm, [
    'template',
    'glmquota',
    CHART,
    '--namespace',
    namespace,
    '--kube-version',
    '1.34.4',
    ...only,
    ...set,
  ]);
}
