/** The product installed on a test cluster from images made of this checkout, with the real chart. */
import { resolve } from 'node:path';
import type { Cluster } from '../cluster/cluster.ts';
import type { ImageName } from '../cluster/images/contents.ts';
import { ensureImage, type Image } from '../cluster/images/images.ts';

const CHART = resolve(import.meta.dirname, '../../charts/glmquota');

export type Log = (line: string) => void;
export type Images = Readonly<Record<'glmquota' | 'redis' | 'glm-simulator' | 'demo-agent', Image>>;

/** Builds what is missing and puts it into the cluster's image store. */
export async function loadImages(cluster: Cluster, log: Log): Promise<Images> {
  const load = async <N extends ImageName>(name: N): Promise<readonly [N, Image]> => {
    const image = await ensureImage(name, { log });
    await cluster.loadImage(image.archive);
    return [name, image];
  };
  const names = ['glmquota', 'redis', 'glm-simulator', 'demo-agent'] as const;
  return Object.fromEntries(await Promise.all(names.map((name) => load(name)))) as Images;
}

export interface InstallOptions {
  readonly allowedOrigins: readonly string[];
  /** Further `--set` values. */
  readonly set?: Readonly<Record<string, string>>;
}

/** `helm install --wait`: when it returns, injection works. Rejects with helm's message. */
export async function installChart(cluster: Cluster, images: Images, options: InstallOptions): Promise<void> {
  const values: Record<string, string> = {
    'image.repository': images.glmquota.repository,
    'image.tag': images.glmquota.tag,
    'redis.image': images.redis.reference,
    ...Object.fromEntries(options.allowedOrigins.map((origin, i) => [`allowedOrigins[${i}]`, origin])),
    ...options.set,
  };
  const set = Object.entries(values).flatMap(([key, value]) => ['--set', `${key}=${value}`]);
  const place = ['--namespace', 'glmquota', '--create-namespace'];
  await cluster.helm(['install', 'glmquota', CHART, ...place, '--wait', '--timeout', '180s', ...set]);
}
