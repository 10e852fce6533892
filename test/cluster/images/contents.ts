/**
 * What each image holds: the one list that the archives built here and the Dockerfile follow. Every image runs as
 * {@link USER}, needs no shell and writes nothing to its root.
 */
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, resolve } from 'node:path';
import { ensureBinaries } from '../binaries.ts';
import { cacheRoot, publish, type Log } from '../cache.ts';
import { run } from '../command.ts';
import { bundle, type Entries } from './bundles.ts';

export const USER = '65532:65532';

export interface ImageFile {
  /** Absolute path in the image. */
  readonly path: string;
  readonly mode: number;
  /** A file of this machine, or the text itself. */
  readonly content: { readonly file: string } | { readonly text: string };
}

export interface ImageContents {
  /** From what changes least to what changes most; equal layers of several images are stored once. */
  readonly layers: readonly (readonly ImageFile[])[];
  readonly entrypoint: readonly string[];
}

const repository = resolve(import.meta.dirname, '../../..');
const require = createRequire(import.meta.url);

/** Users by name, for programs that look themselves up; certificates of public authorities, for the vendor's. */
const BASE: readonly ImageFile[] = [
  {
    path: '/etc/passwd',
    mode: 0o644,
    content: { text: 'root:x:0:0::/:/sbin/nologin\nnonroot:x:65532:65532::/:/sbin/nologin\n' },
  },
  { path: '/etc/group', mode: 0o644, content: { text: 'root:x:0:\nnonroot:x:65532:\n' } },
  { path: '/etc/nsswitch.conf', mode: 0o644, content: { text: 'hosts: files dns\n' } },
  { path: '/etc/ssl/certs/ca-certificates.crt', mode: 0o644, content: { file: '/etc/ssl/certs/ca-certificates.crt' } },
];

/** The shared libraries a program is loaded with, at the paths the loader looks for them. */
async function libraries(program: string): Promise<ImageFile[]> {
  const listed = await run('ldd', [program], { env: { ...process.env, LC_ALL: 'C' } });
  const paths = [...listed.matchAll(/(?:=> |^\s+)(\/\S+) \(0x/gm)].map((match) => match[1] ?? '');
  return paths.map((path) => ({ path, mode: 0o755, content: { file: path } }));
}

/** The project's Node without its symbol table: a fifth smaller. Made once per version. */
async function strippedNode(): Promise<string> {
  const manifest = require.resolve(`node-linux-${process.arch}/package.json`);
  const { version } = require(manifest) as { version: string };
  const target = join(cacheRoot(), 'node', `${version}-${process.arch}`, 'node');
  const stripInto = (partial: string): Promise<string> =>
    run('strip', ['--strip-all', '-o', partial, join(dirname(manifest), 'bin/node')]);
  if (!existsSync(target)) await publish(target, async (partial) => void (await stripInto(partial)));
  return target;
}

async function nodeLayer(): Promise<ImageFile[]> {
  const node = await strippedNode();
  return [{ path: '/bin/node', mode: 0o755, content: { file: node } }, ...(await libraries(node)), ...BASE];
}

/**
 * No debugger by signal: whoever may send one to the sidecar must not read its memory. The young generation is kept
 * small, because there is one sidecar an agent (measured: 256 to 132 MB after 8,000 calls, together with a cap on the old).
 */
const NODE = ['/bin/node', '--disable-sigusr1', '--max-semi-space-size=8'];

async function bundledImage(entries: Entries, entrypoint: readonly string[]): Promise<ImageContents> {
  const [base, app] = await Promise.all([nodeLayer(), bundle(repository, entries)]);
  const files = Object.entries(app).map(([name, text]) => ({ path: `/app/${name}`, mode: 0o644, content: { text } }));
  return { layers: [base, files], entrypoint };
}

/** Chooses the role's bundle, so that a sidecar never loads the operator's code. */
const LAUNCHER = `const bundles = { sidecar: './sidecar.mjs', controller: './operator.mjs', edge: './operator.mjs' };
const role = process.argv[2];
if (!Object.hasOwn(bundles, role)) {
  console.error('usage: glmquota ' + Object.keys(bundles).join('|'));
  process.exit(64);
}
// The maps cost the sidecar 60 MB and half a second of each start; a stack is mapped later, from the image's files.
if (role !== 'sidecar') process.setSourceMapsEnabled(true);
await import(bundles[role]);
`;

const MAIN: readonly string[] = [...NODE, '/app/main.mjs'];

/** Of the product's image; the role follows as argument. */
export const GLMQUOTA_ENTRYPOINT: readonly string[] = [...NODE, '/app/glmquota.mjs'];

async function glmquota(): Promise<ImageContents> {
  const image = await bundledImage({ sidecar: 'sidecar/main.ts', operator: 'operator/main.ts' }, GLMQUOTA_ENTRYPOINT);
  const launcher: ImageFile = { path: '/app/glmquota.mjs', mode: 0o644, content: { text: LAUNCHER } };
  return { ...image, layers: image.layers.with(-1, [launcher, ...(image.layers.at(-1) ?? [])]) };
}

async function redis(): Promise<ImageContents> {
  const program = (await run('which', ['redis-server'])).trim();
  const file: ImageFile = { path: '/bin/redis-server', mode: 0o755, content: { file: program } };
  return { layers: [[file, ...(await libraries(program)), ...BASE]], entrypoint: ['/bin/redis-server'] };
}

async function pause(log: Log): Promise<ImageContents> {
  const { pause: program } = await ensureBinaries(['pause'], { log });
  return { layers: [[{ path: '/pause', mode: 0o755, content: { file: program } }]], entrypoint: ['/pause'] };
}

const IMAGES = {
  /** All roles of the product: `sidecar`, `controller`, `edge` as the first argument. */
  glmquota: () => glmquota(),
  /** The distribution's redis-server. */
  redis: () => redis(),
  'glm-simulator': () => bundledImage({ main: 'test/support/glm-simulator/main.ts' }, MAIN),
  /** An agent with the official client packages. */
  'demo-agent': () => bundledImage({ main: 'test/demo/agent.ts' }, MAIN),
  /** Node alone: `node -e …` as arguments, for tests of the cluster itself. */
  node: async (): Promise<ImageContents> => ({ layers: [await nodeLayer()], entrypoint: ['/bin/node'] }),
  pause,
} as const satisfies Record<string, (log: Log) => Promise<ImageContents>>;

export type ImageName = keyof typeof IMAGES;
export const IMAGE_NAMES = Object.keys(IMAGES) as ImageName[];

/** Bundles what is to be bundled and lists the image's files. */
export async function imageContents(name: ImageName, log: Log): Promise<ImageContents> {
  return IMAGES[name](log);
}
