import { existsSync } from 'node:fs';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { dirname } from 'node:path';
import { expect, test } from 'vitest';
import { waitFor } from '#test/cluster/wait.ts';
import { startApiServer } from '#test/support/api-server.ts';

test('an API server takes objects through kubectl and leaves no file or process behind', async () => {
  const started = performance.now();
  const server = await startApiServer();
  console.log(`API server ready after ${Math.round(performance.now() - started)} ms`);
  const folder = dirname(dirname(server.kubeconfigPath));
  try {
    const object = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'seen' }, data: { a: '1' } };
    await server.kubectl(['apply', '-f', '-'], JSON.stringify(object));
    expect(await server.kubectl(['get', 'configmap', 'seen', '-o', 'jsonpath={.data.a}'])).toBe('1');
    await expect(server.kubectl(['get', 'configmap', 'unseen'])).rejects.toThrow('"unseen" not found');
  } finally {
    await server[Symbol.asyncDispose]();
  }
  expect(existsSync(folder)).toBe(false);
  await expect(fetch(server.url)).rejects.toThrow('fetch failed');
});

test('a killed API server comes back on its port with its objects', async () => {
  await using server = await startApiServer();
  await server.kubectl(['create', 'namespace', 'kept']);
  await server.kill();
  await expect(fetch(server.url)).rejects.toThrow('fetch failed');
  await server.start();
  expect(await server.kubectl(['get', 'namespace', 'kept', '-o', 'name'])).toBe('namespace/kept\n');
});

test('an API server is cleaned up although its process was killed with SIGKILL', async () => {
  const module = JSON.stringify(`${import.meta.dirname}/../../support/api-server.ts`);
  const code = `const { startApiServer } = await import(${module});
    const server = await startApiServer(); console.log(server.kubeconfigPath); setInterval(() => {}, 1000)`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', code], { stdio: ['ignore', 'pipe', 'inherit'] });
  const [line] = (await once(child.stdout, 'data')) as [Buffer];
  const folder = dirname(dirname(line.toString().trim()));
  expect(existsSync(folder)).toBe(true);
  child.kill('SIGKILL');
  await waitFor('the removal of the folder', () => !existsSync(folder));
});
