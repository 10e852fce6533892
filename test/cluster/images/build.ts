/**
 * `node test/cluster/images/build.ts <image>… [--rootfs <folder>]`: builds archives into the cache and prints where they
 * are; with `--rootfs` writes one image's files into a folder instead, which is what the Dockerfile copies.
 */
import { chmod, copyFile, mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { parseArgs } from 'node:util';
import { IMAGE_NAMES, imageContents, type ImageName } from './contents.ts';
import { ensureImage } from './images.ts';

const log = (line: string): void => console.error(`images: ${line}`);

async function writeRootfs(name: ImageName, folder: string): Promise<void> {
  const { layers } = await imageContents(name, log);
  for (const { path, mode, content } of layers.flat()) {
    const target = join(folder, path);
    await mkdir(dirname(target), { recursive: true });
    await ('file' in content ? copyFile(content.file, target) : writeFile(target, content.text));
    await chmod(target, mode);
  }
}

const { values, positionals } = parseArgs({
  options: { rootfs: { type: 'string' }, help: { type: 'boolean' } },
  allowPositionals: true,
});
const unknown = positionals.filter((name) => !IMAGE_NAMES.includes(name as ImageName));
if (values.help || positionals.length === 0 || unknown.length > 0) {
  console.error(`usage: build.ts <image>… [--rootfs <folder>]; images: ${IMAGE_NAMES.join(', ')}`);
  process.exit(values.help ? 0 : 2);
}
for (const name of positionals as ImageName[]) {
  if (values.rootfs === undefined) console.log((await ensureImage(name, { log })).archive);
  else await writeRootfs(name, values.rootfs);
}
