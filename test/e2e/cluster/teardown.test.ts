import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { ensureBinaries } from '#test/cluster/binaries.ts';
import { run } from '#test/cluster/command.ts';
import { ensureImage } from '#test/cluster/images/images.ts';
import { readResidue } from '#test/cluster/residue.ts';
import { waitFor } from '#test/cluster/wait.ts';
import { lastingTraces, tracesOfMachine } from './traces.ts';

const cluster = resolve(import.meta.dirname, '../../cluster');
const children: ChildProcess[] = [];

/** A program that starts a cluster and then runs `code`, which sees it as `cluster`. */
function program(code: string): ChildProcess {
  const source = `const { startCluster } = await import('${cluster}/cluster.ts');
    await using cluster = await startCluster({ log: () => undefined });
    console.log(cluster.name);
    ${code}`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', source], { stdio: ['ignore', 'pipe', 'ignore'] });
  children.push(child);
  return child;
}

async function firstLine(child: ChildProcess): Promise<string> {
  if (!child.stdout) throw new Error('the program has no output');
  const [line] = (await once(child.stdout, 'data')) as [Buffer];
  return line.toString().trim();
}

async function before(): Promise<Set<string>> {
  await ensureImage('pause', { log: (line) => console.log(line) });
  return tracesOfMachine();
}

const FOREVER = 'await new Promise(() => setInterval(() => {}, 1000));';

afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL');
});

test('a program that fails while its cluster runs leaves nothing', async () => {
  const traces = await before();
  const child = program(`throw new Error('a failing test');`);
  const [code] = await once(child, 'exit');
  expect(code).toBe(1);
  expect(await lastingTraces(traces)).toEqual([]);
});

test('two clusters run side by side, and a signal to their programs leaves nothing', async () => {
  const traces = await before();
  const programs = [program(FOREVER), program(FOREVER)];
  const names = await Promise.all(programs.map((child) => firstLine(child)));
  expect(new Set(names).size).toBe(2);
  programs[0]?.kill('SIGINT');
  programs[1]?.kill('SIGTERM');
  expect(await lastingTraces(traces)).toEqual([]);
});

test('a program killed in the middle of the start leaves nothing', async () => {
  const traces = await before();
  const child = program(FOREVER);
  const records = '/var/lib/glmquota/clusters';
  const isStarting = (name: string): boolean =>
    readResidue(`${records}/${name}`)?.owner?.pid === child.pid && existsSync(`${records}/${name}/kube-apiserver.log`);
  await waitFor('a running API server', () => existsSync(records) && readdirSync(records).some(isStarting));
  child.kill('SIGKILL');
  expect(await lastingTraces(traces)).toEqual([]);
});

function wardenOf(name: string): number {
  const found = readdirSync('/proc').find((pid) => {
    if (!/^\d+$/.test(pid) || !existsSync(`/proc/${pid}/cmdline`)) return false;
    const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8');
    return command.includes('warden.ts') && command.includes(`/${name}\0`);
  });
  return Number(found);
}

test('what a killed program and its killed warden left is removed by the next start', async () => {
  const traces = await before();
  const child = program(FOREVER);
  const name = await firstLine(child);
  process.kill(wardenOf(name), 'SIGKILL');
  child.kill('SIGKILL');
  await once(child, 'exit');
  expect(existsSync(`/var/lib/glmquota/clusters/${name}`)).toBe(true);
  const [code] = await once(program(''), 'exit');
  expect(code).toBe(0);
  expect(await lastingTraces(traces)).toEqual([]);
});

test('a kept cluster outlives its program until it is removed by name', async () => {
  const traces = await before();
  const child = program('await cluster.keep();');
  const name = await firstLine(child);
  if (child.exitCode === null) await once(child, 'exit');
  const kubeconfig = `/var/lib/glmquota/clusters/${name}/plane/admin.conf`;
  const { kubectl } = await ensureBinaries(['kubectl'], { log: console.log });
  expect(await run(kubectl, ['--kubeconfig', kubeconfig, 'get', 'nodes', '-o', 'name'])).toBe(`node/${name}\n`);
  expect(await run(process.execPath, [`${cluster}/remove.ts`, name])).toBe(`${name} removed\n`);
  expect(await lastingTraces(traces)).toEqual([]);
});
