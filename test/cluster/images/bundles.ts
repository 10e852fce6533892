/** One `.mjs` with source map per entry point, everything inside, as the images hold it. */
import { readFile } from 'node:fs/promises';
import { basename, dirname, join, relative } from 'node:path';
import { build, type Plugin } from 'esbuild';

/** Name of the bundle → entry point below the repository's root. */
export type Entries = Readonly<Record<string, string>>;

/** Modules that read their neighbours from disk do it by exactly this call; see {@link inlineNeighbours}. */
const NEIGHBOUR = /readFileSync\(\s*(?:join|resolve)\(\s*import\.meta\.dirname,\s*'([^'$]+)'\s*\),\s*'utf8'\s*,?\s*\)/g;

/**
 * In development a module reads a file beside it (Lua, YAML) with
 * `readFileSync(join(import.meta.dirname, 'lua/acquire.lua'), 'utf8')`; in a bundle that expression becomes the text.
 * A module that uses `import.meta.dirname` in another way is refused: it would look beside the bundle.
 */
const inlineNeighbours: Plugin = {
  name: 'inline-neighbours',
  setup(context) {
    context.onLoad({ filter: /\.ts$/ }, async ({ path }) => {
      const source = await readFile(path, 'utf8');
      if (path.includes('/node_modules/') || !source.includes('import.meta.')) return undefined;
      const texts = new Map<string, string>();
      for (const [, name = ''] of source.matchAll(NEIGHBOUR))
        texts.set(name, await readFile(join(dirname(path), name), 'utf8'));
      const contents = source.replaceAll(NEIGHBOUR, (_call, name: string) => JSON.stringify(texts.get(name)));
      const errors = /import\.meta\.(dirname|filename|url)/.test(contents)
        ? [{ text: `reads a file in a way that cannot be bundled (see test/cluster/images/bundles.ts)` }]
        : [];
      return { contents, loader: 'ts', errors, watchFiles: [...texts.keys()].map((name) => join(dirname(path), name)) };
    });
  },
};

/** CommonJS packages inside an ES module still call `require` for Node's own modules. */
const BANNER = `import { createRequire as __createRequire } from 'node:module';
const require = __createRequire(import.meta.url);`;

/** File names (`<name>.mjs`, `<name>.mjs.map`) → texts. The same sources give the same bytes on every machine. */
export async function bundle(root: string, entries: Entries): Promise<Readonly<Record<string, string>>> {
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
    // Names are kept: stack traces and error names stay readable, and metrics of size are not the point.
    keepNames: true,
    minifySyntax: true,
    minifyWhitespace: true,
    legalComments: 'none',
    banner: { js: BANNER },
    plugins: [inlineNeighbours],
    logLevel: 'silent',
  });
  const sorted = outputFiles.toSorted((a, b) => (a.path < b.path ? -1 : 1));
  return Object.fromEntries(sorted.map((file) => [basename(relative(root, file.path)), file.text]));
}
