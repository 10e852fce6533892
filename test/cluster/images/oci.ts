/** OCI image archives (image-spec 1.1, one uncompressed tar) made from file lists, without Docker. */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { dirname } from 'node:path';
import { USER, type ImageContents, type ImageFile } from './contents.ts';
import { TAR_END, tarFile, tarFolder } from './tar.ts';

interface Blob {
  readonly bytes: Buffer;
  readonly digest: string;
}

const sha256 = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');
const blob = (bytes: Buffer): Blob => ({ bytes, digest: sha256(bytes) });
const json = (value: object): Blob => blob(Buffer.from(JSON.stringify(value)));

const bytesOf = ({ content }: ImageFile): Buffer =>
  'file' in content ? readFileSync(content.file) : Buffer.from(content.text);

function parents(path: string): string[] {
  const parent = dirname(path);
  return parent === '/' ? [] : [...parents(parent), parent];
}

/** One layer: the files sorted by path, each folder once before what is in it. */
function layer(files: readonly ImageFile[]): Blob {
  const byPath = files.toSorted((a, b) => (a.path < b.path ? -1 : 1));
  const folders = new Set(byPath.flatMap(({ path }) => parents(path)));
  return blob(
    Buffer.concat([
      ...[...folders].toSorted().map((folder) => tarFolder(folder.slice(1), 0o755)),
      ...byPath.flatMap((file) => [...tarFile(file.path.slice(1), bytesOf(file), file.mode)]),
      TAR_END,
    ]),
  );
}

const ARCHITECTURE: Partial<Record<NodeJS.Architecture, string>> = { x64: 'amd64', arm64: 'arm64' };

/** What a container runtime is told about the image; the Dockerfile says the same. */
export function imageConfig({ entrypoint }: ImageContents): object {
  return { User: USER, Env: ['PATH=/bin'], Entrypoint: entrypoint, WorkingDir: '/' };
}

const descriptor = (mediaType: string, { bytes, digest }: Blob): object => ({
  mediaType: `application/vnd.oci.image.${mediaType}`,
  digest: `sha256:${digest}`,
  size: bytes.length,
});

/** Writes the archive to `target`; importing it names the image `reference`. */
export async function writeArchive(contents: ImageContents, reference: string, target: string): Promise<void> {
  const layers = contents.layers.map((files) => layer(files));
  const config = json({
    architecture: ARCHITECTURE[process.arch] ?? process.arch,
    os: 'linux',
    config: imageConfig(contents),
    rootfs: { type: 'layers', diff_ids: layers.map(({ digest }) => `sha256:${digest}`) },
  });
  const manifest = json({
    schemaVersion: 2,
    mediaType: 'application/vnd.oci.image.manifest.v1+json',
    config: descriptor('config.v1+json', config),
    layers: layers.map((each) => descriptor('layer.v1.tar', each)),
  });
  const index = json({
    schemaVersion: 2,
    mediaType: 'application/vnd.oci.image.index.v1+json',
    manifests: [
      { ...descriptor('manifest.v1+json', manifest), annotations: { 'io.containerd.image.name': reference } },
    ],
  });
  const file = await open(target, 'w');
  try {
    const write = async (name: string, bytes: Buffer): Promise<void> => {
      for (const block of tarFile(name, bytes, 0o644)) await file.writeFile(block);
    };
    await write('oci-layout', Buffer.from('{"imageLayoutVersion":"1.0.0"}'));
    await write('index.json', index.bytes);
    for (const each of [config, manifest, ...layers]) await write(`blobs/sha256/${each.digest}`, each.bytes);
    await file.writeFile(TAR_END);
  } finally {
    await file.close();
  }
}
