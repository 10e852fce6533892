import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync, utimesSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { identify, isAlive } from '#test/cluster/process-identity.ts';
import { claimFolder, keepResidue, recordResidue, removeResidue, removeStale } from '#test/cluster/residue.ts';
import { run } from '#test/cluster/command.ts';

let parent: string;
let folder: string;

beforeEach(() => {
  parent = mkdtempSync(join(tmpdir(), 'residue-'));
  folder = join(parent, 'claimed');
});

afterEach(() => rmSync(parent, { recursive: true, force: true }));

/** Claims the folder in a process that has ended when this resolves. */
async function claimByAnother(after = ''): Promise<void> {
  const module = JSON.stringify(join(import.meta.dirname, '../../cluster/residue.ts'));
  const code = `const residue = await import(${module}); const folder = ${JSON.stringify(folder)};
    await residue.claimFolder(folder); ${after}`;
  await run(process.execPath, ['--input-type=module', '-e', code]);
}

test('of many who claim a folder one gets it', async () => {
  const claims = await Promise.all(Array.from({ length: 10 }, () => claimFolder(folder)));
  expect(claims.filter(Boolean)).toHaveLength(1);
});

test('the folder of a living process is not stale', async () => {
  await claimFolder(folder);
  await removeStale(parent);
  expect(existsSync(folder)).toBe(true);
});

test('the folder of a dead process is removed with the processes in its record', async () => {
  await claimByAnother();
  const child = spawn('sleep', ['1000'], { stdio: 'ignore' });
  const identity = identify(child.pid ?? 0);
  recordResidue(folder, { processes: [identity] });
  await removeStale(parent);
  expect({ folder: existsSync(folder), process: isAlive(identity) }).toEqual({ folder: false, process: false });
});

test('a process that has the number of a recorded one, but started at another time, is left alone', async () => {
  await claimFolder(folder);
  const child = spawn('sleep', ['1000'], { stdio: 'ignore' });
  try {
    const identity = identify(child.pid ?? 0);
    recordResidue(folder, { processes: [{ ...identity, startTicks: identity.startTicks - 1 }] });
    await removeResidue(folder);
    expect(isAlive(identity)).toBe(true);
  } finally {
    child.kill('SIGKILL');
  }
});

test('a kept folder is not stale although its maker is gone, and can be removed', async () => {
  await claimByAnother('residue.keepResidue(folder);');
  await removeStale(parent);
  expect(existsSync(folder)).toBe(true);
  keepResidue(folder);
  await removeResidue(folder);
  expect(existsSync(folder)).toBe(false);
});

test('a folder without a record is stale when nobody can be about to write one', async () => {
  mkdirSync(folder);
  await removeStale(parent);
  expect(existsSync(folder)).toBe(true);
  utimesSync(folder, 0, 0);
  await removeStale(parent);
  expect(existsSync(folder)).toBe(false);
});
