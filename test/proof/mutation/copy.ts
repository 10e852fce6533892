/** A copy of the project in a temporary folder, in which one file at a time is another. The work tree is never touched. */
import { cpSync, mkdtempSync, readFileSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** What the engine's tests need. */
const PARTS = ['package.json', 'tsconfig.json', 'vitest.config.ts', 'crds', 'operator', 'proto', 'sidecar', 'test'];

export interface Copy extends Disposable {
  readonly folder: string;
  /** Puts a text in place of another in one file; undone when the result is disposed of. */
  changed(change: { readonly file: string; readonly find: string; readonly put: string }): Disposable;
}

export function copyProject(root: string): Copy {
  const folder = mkdtempSync(join(tmpdir(), 'glmquota-mutation-'));
  const remove = (): void => rmSync(folder, { recursive: true, force: true });
  process.once('exit', remove);
  for (const part of PARTS) cpSync(join(root, part), join(folder, part), { recursive: true });
  symlinkSync(realpathSync(join(root, 'node_modules')), join(folder, 'node_modules'));
  return {
    folder,
    changed: ({ file, find, put }) => {
      const path = join(folder, file);
      const original = readFileSync(path, 'utf8');
      // A function, for `$` in a replacement text would mean something.
      writeFileSync(
        path,
        original.replace(find, () => put),
      );
      return { [Symbol.dispose]: () => writeFileSync(path, original) };
    },
    [Symbol.dispose]: () => {
      process.off('exit', remove);
      remove();
    },
  };
}
