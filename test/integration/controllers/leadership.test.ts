import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { GLM_QUOTAS } from '#operator/controllers/world/kinds.ts';
import { LEASES } from '#operator/runtime/lease.ts';
import { treeKeyOf } from '#operator/trees/names.ts';
import { until } from '../../unit/runtime/await-until.ts';
import { Stand } from './stand.ts';

const account = { namespace: 'glm', name: 'max' };
const quota = { namespace: 'glm', name: 'team' };

let stand: Stand;
const processes = new Set<ChildProcess>();

beforeAll(async () => {
  stand = await Stand.start();
  await stand.namespace('glm');
  await stand.credential('glm', 'key', { apiKey: 'vendor-key-0001' });
  await stand.account(account, {});
  await stand.quota(quota, { accountRef: account, concurrency: { max: 1 } });
}, 600_000);

afterAll(async () => {
  for (const child of processes) child.kill('SIGKILL');
  await stand?.[Symbol.asyncDispose]();
});

function startProcess(name: string): ChildProcess {
  const script = join(import.meta.dirname, 'leader-process.ts');
  const child = spawn(process.execPath, [script, stand.server.kubeconfigPath, stand.redis.url, name], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  processes.add(child);
  child.once('exit', () => processes.delete(child));
  return child;
}

/** The name of the process that holds the lease. */
async function leader(): Promise<string> {
  const lease = await stand.client.get(LEASES, { namespace: 'default', name: 'glmquota-controller' });
  return ((lease?.['spec'] as { holderIdentity?: string } | undefined)?.holderIdentity ?? '').split('_')[0] ?? '';
}

async function limitInRedis(): Promise<number | null | undefined> {
  return (await stand.tree(account))?.nodes.find(({ name }) => name === 'quota:glm/team')?.concurrency;
}

test('a leader killed with SIGKILL is replaced and its successor goes on', async () => {
  const first = startProcess('first');
  await until(async () => (await limitInRedis()) === 1, 'the first configured the tree');
  startProcess('second');
  const before = await stand.tree(account);
  first.kill('SIGKILL');
  const killed = performance.now();
  await until(async () => (await leader()) === 'second', 'the second leads');
  await until(async () => (await stand.tree(account))?.revision.transitions === 1, 'the second took the tree over');
  console.log(`replaced after ${Math.round(performance.now() - killed)} ms with leases of 3 s`);
  await stand.quota(quota, { accountRef: account, concurrency: { max: 2 } });
  await until(async () => (await limitInRedis()) === 2, 'the second writes');
  const after = await stand.tree(account);
  expect(after?.revision.generation).toBe((before?.revision.generation ?? 0) + 1);
});

test('a leader paused past its lease cannot write after it goes on', async () => {
  const [second] = processes;
  startProcess('third');
  await until(async () => (await leader()) === 'second', 'the second leads');
  const stale = await stand.tree(account);
  second?.kill('SIGSTOP');
  await until(async () => (await leader()) === 'third', 'the third leads');
  await stand.quota(quota, { accountRef: account, concurrency: { max: 3 } });
  await until(async () => (await limitInRedis()) === 3, 'the third writes');
  const revision = (await stand.tree(account))?.revision;
  const exited = once(second!, 'exit');
  second?.kill('SIGCONT');
  expect(await exited).toEqual([1, null]);
  expect(await limitInRedis()).toBe(3);
  expect((await stand.tree(account))?.revision).toEqual(revision);
  // What the paused leader could have had on its way: refused by Redis itself.
  const tree = await stand.engine.config(treeKeyOf(account));
  const late = { ...stale!.revision, generation: stale!.revision.generation + 1000 };
  expect(await stand.engine.configure(tree!, late)).toMatchObject({ kind: 'fenced' });
});

test('a leader asked to end gives the lease back and is followed within three seconds', async () => {
  const [third] = processes;
  startProcess('fourth');
  await until(async () => (await leader()) === 'third', 'the third leads');
  await new Promise((resolve) => setTimeout(resolve, 2000));
  const exited = once(third!, 'exit');
  third?.kill('SIGTERM');
  const asked = performance.now();
  await until(async () => (await leader()) === 'fourth', 'the fourth leads');
  console.log(`followed after ${Math.round(performance.now() - asked)} ms`);
  expect(await exited).toEqual([0, null]);
  await stand.quota(quota, { accountRef: account, concurrency: { max: 4 } });
  expect(await stand.eventually(GLM_QUOTAS, quota, 'Ready', 'True QuotaActive')).toBe('True QuotaActive');
});
