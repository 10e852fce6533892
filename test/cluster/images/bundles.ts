/** One `.mjs` with source map per entry point, everything inside, and the files that modules read from beside them. */
import { globSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { basename, dirname, join, normalize } from 'node:path';
import { build, type PartialMessage, type Plugin } from 'esbuild';

/** Name of the bundle → entry point below the repository's root. */
export type Entries = Readonly<Record<string, string>>;

/** The one way in which a module names files beside itself; `${…}` in it stands for any name. */
const NEIGHBOUR = /new URL\(\s*['"`]([^'"`]+)['"`],\s*import\.meta\.url\s*\)/g;

/** Path relative to the module → the file. */
function neighboursOf(folder: string, source: string): Map<string, string> {
  const patterns = [...source.matchAll(NEIGHBOUR)].map(([, name = '']) =>
    normalize(name.replaceAll(/\$\{[^}]*\}/g, '*')),
  );
  const names = patterns.flatMap((pattern) => globSync(pattern, { cwd: folder }));
  return new Map(names.map((name) => [name, join(folder, name)]));
}

/**
 * Collects what modules read with `new URL('./lua/acquire.lua', import.meta.url)`: the same text finds the file beside
 * the module in development and beside the bundle in the image. Two modules may not use one name for two files, nor
 * reach above themselves, nor ask for their place in another way: a bundle would look in the wrong folder.
 */
function collectNeighbours(found: Map<string, string>): Plugin {
  const problems = (neighbours: ReadonlyMap<string, string>, source: string): string[] => [
    ...[...neighbours].flatMap(([name, file]) =>
      name.startsWith('..') || (found.get(name) ?? file) !== file ? [`"${name}" cannot lie beside a bundle`] : [],
    ),
    ...(/import\.meta\.(dirname|filename|url)/.test(source.replaceAll(NEIGHBOUR, ''))
      ? ['asks for its own place']
      : []),
  ];
  return {
    name: 'neighbours',
    setup(context) {
      context.onLoad({ filter: /\.ts$/ }, async ({ path }) => {
        if (path.includes('/node_modules/')) return undefined;
        const contents = await readFile(path, 'utf8');
        const neighbours = neighboursOf(dirname(path), contents);
        const errors: PartialMessage[] = problems(neighbours, contents).map((text) => ({ text: `${path} ${text}` }));
        for (const [name, file] of neighbours) found.set(name, file);
        return { contents, loader: 'ts', errors };
      });
    },
  };
}

/** CommonJS packages inside an ES module still call `require` for Node's own modules. */
const BANNER = `import { createRequire as __createRequire } from 'node:module';
const require = __createRequire(import.meta.url);`;

/**
 * File names (`<name>.mjs`, `<name>.mjs.map`, neighbours) → texts, to be put into one folder. The same sources give the
 * same bytes on every machine. Rejects with esbuild's messages, also when an entry point does not exist.
 */
export async function bundle(root: string, entries: Entries): Promise<Readonly<Record<string, string>>> {
  const neighbours = new Map<string, string>();
  const { outputFiles } = await build({
    absWorkingDir: root,
    entryPoints: Object.entries(entries).map(([out, entry]) => ({ in: entry, out })),
    outdir: 'dist',
    outExtension: { '.js': '.mjs' },
    bundle: true,
    write: false,
    platform: 'node',
    format: 'esm',
    target: 'node24',
    sourcemap: 'linked',
    // The source text is in the repository; line numbers are what a stack trace needs.
    sourcesContent: false,
    minifySyntax: true,
    minifyWhitespace: true,
    legalComments: 'none',
    banner: { js: BANNER },
    plugins: [collectNeighbours(neighbours)],
    logLevel: 'silent',
  });
  const texts = outputFiles.map((file) => [basename(file.path), file.text] as const);
  const beside = [...neighbours].map(async ([name, file]) => [name, await readFile(file, 'utf8')] as const);
  const files = [...texts, ...(await Promise.all(beside))];
  return Object.fromEntries(files.toSorted(([a], [b]) => (a < b ? -1 : 1)));
}
