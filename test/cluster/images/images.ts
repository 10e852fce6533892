/** Image archives in the cache, one per content: made when something they hold has changed. */
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, statSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { cacheRoot, publish, type Log } from '../cache.ts';
import { imageContents, type ImageContents, type ImageFile, type ImageName } from './contents.ts';
import { imageConfig, writeArchive } from './oci.ts';

export interface Image {
  /** Full name with a tag that stands for the content: `glmquota.local/<name>:<12 hex digits>`. */
  readonly reference: string;
  readonly repository: string;
  readonly tag: string;
  /** OCI archive, for `Cluster.loadImage`. */
  readonly archive: string;
}

const KEPT = 3;

/** Files of this machine are told apart by size and time of change: reading 100 MB of Node each time would cost more. */
function fingerprint({ path, mode, content }: ImageFile): unknown {
  if ('text' in content) return [path, mode, content.text];
  const { size, mtimeMs } = statSync(content.file);
  return [path, mode, content.file, size, mtimeMs];
}

function contentTag(contents: ImageContents): string {
  const value = [imageConfig(contents), contents.layers.map((files) => files.map((file) => fingerprint(file)))];
  return createHash('sha256').update(JSON.stringify(value)).digest('hex').slice(0, 12);
}

/** Every change of the sources makes another archive of 100 MB: the newest three of a name are kept. */
async function removeOld(name: ImageName): Promise<void> {
  const folder = join(cacheRoot(), 'images');
  const isOurs = new RegExp(`^${name}-[0-9a-f]{12}\\.tar$`);
  const archives = readdirSync(folder)
    .filter((file) => isOurs.test(file))
    .map((file) => ({ path: join(folder, file), made: statSync(join(folder, file)).mtimeMs }))
    .toSorted((a, b) => b.made - a.made);
  for (const { path } of archives.slice(KEPT)) await rm(path, { force: true });
}

/** The image's archive, built (1 to 2 s) if the cache lacks it. Rejects when an entry point to bundle does not exist. */
export async function ensureImage(name: ImageName, options: { readonly log: Log }): Promise<Image> {
  const contents = await imageContents(name, options.log);
  const tag = contentTag(contents);
  const repository = `glmquota.local/${name}`;
  const reference = `${repository}:${tag}`;
  const archive = join(cacheRoot(), 'images', `${name}-${tag}.tar`);
  if (!existsSync(archive)) {
    options.log(`building the image ${name}`);
    await publish(archive, (partial) => writeArchive(contents, reference, partial));
    await removeOld(name);
  }
  return { reference, repository, tag, archive };
}
