import { mkdtempSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { bundle } from '#test/cluster/images/bundles.ts';

let root: string;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'bundles-'));
  mkdirSync(join(root, 'room/lua'), { recursive: true });
  writeFileSync(join(root, 'room/lua/acquire.lua'), 'return 1');
});

afterEach(() => rmSync(root, { recursive: true, force: true }));

function write(text: string): void {
  writeFileSync(join(root, 'room/main.ts'), text);
}

test('a file that a module names by its own URL lies beside the bundle under the same name', async () => {
  write('const name = process.argv[2]; console.log(new URL(`./lua/${name}.lua`, import.meta.url));');
  const files = await bundle(root, { role: 'room/main.ts' });
  expect(Object.keys(files)).toEqual(['lua/acquire.lua', 'role.mjs', 'role.mjs.map']);
  expect(files['lua/acquire.lua']).toBe('return 1');
});

test('a module that asks for its place in another way is refused', async () => {
  write('console.log(import.meta.dirname);');
  await expect(bundle(root, { role: 'room/main.ts' })).rejects.toThrow('asks for its own place');
});

test('a file above the module is refused', async () => {
  writeFileSync(join(root, 'above.txt'), 'x');
  write(`console.log(new URL('../above.txt', import.meta.url));`);
  await expect(bundle(root, { role: 'room/main.ts' })).rejects.toThrow('cannot lie beside a bundle');
});

test('a missing entry point is named', async () => {
  await expect(bundle(root, { role: 'room/absent.ts' })).rejects.toThrow('room/absent.ts');
});
