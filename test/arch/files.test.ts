import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join, relative, resolve } from 'node:path';
import { expect, test } from 'vitest';

const root = resolve(import.meta.dirname, '../..');
const TOP = ['operator', 'sidecar', 'proto', 'crds', 'charts', 'test'];
const SKIPPED = /(^|\/)(node_modules|gen|\.git)(\/|$)/;

function files(folder: string): string[] {
  return readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(root, join(entry.parentPath, entry.name)))
    .filter((file) => !SKIPPED.test(file));
}

const all = TOP.flatMap((folder) => files(folder));
const lines = (file: string): number => readFileSync(join(root, file), 'utf8').split('\n').length - 1;

test('no code file is longer than 300 lines', () => {
  const long = all.filter((file) => /\.(ts|lua|mjs|sh|go|tsx)$/.test(file) && lines(file) > 300);
  expect(long).toEqual([]);
});

test("no folder's README is longer than 15 lines", () => {
  expect(all.filter((file) => file.endsWith('README.md') && lines(file) > 15)).toEqual([]);
});

test('every room has a README', () => {
  const rooms = ['operator', 'sidecar'].flatMap((side) =>
    readdirSync(join(root, side), { withFileTypes: true })
      .filter((entry) => entry.isDirectory() && files(join(side, entry.name)).length > 0)
      .map((entry) => join(side, entry.name)),
  );
  expect(rooms.filter((room) => !existsSync(join(root, room, 'README.md')))).toEqual([]);
});

test('the clock, the environment and randomness are read only where they enter', () => {
  const readers = all.filter((file) => {
    if (!/^(operator|sidecar)\/.*\.ts$/.test(file) || /base\/(clock|ids)\.ts$|(^|\/)config\.ts$/.test(file))
      return false;
    return /\bDate\.now\(|\bMath\.random\(|\bprocess\.env\b/.test(readFileSync(join(root, file), 'utf8'));
  });
  expect(readers).toEqual([]);
});

test('no test is skipped, focused or unfinished', () => {
  const marked = all.filter(
    (file) =>
      file.endsWith('.test.ts') &&
      /\b(test|it|describe)\.(skip|only|todo)\(/.test(readFileSync(join(root, file), 'utf8')),
  );
  expect(marked.filter((file) => !file.endsWith('arch/files.test.ts'))).toEqual([]);
});
