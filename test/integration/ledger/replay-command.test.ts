import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { resolve } from 'node:path';
import { text } from 'node:stream/consumers';
import { Redis } from 'ioredis';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { treeKeyOf } from '#operator/trees/names.ts';
import { createAdminEngine, createSidecarEngine } from '#sidecar/engine/client.ts';
import type { SidecarEngine } from '#sidecar/engine/port.ts';
import { node, request, settlement, START_MS } from '#test/support/engine.ts';
import { startRedis, type TestRedis } from '#test/support/redis.ts';

const ACCOUNT = { namespace: 'glm', name: 'max' };
const KEY = treeKeyOf(ACCOUNT);
const MAIN = resolve(import.meta.dirname, '../../../operator/ledger/main.ts');

let server: TestRedis;
let redis: Redis;
let sidecar: SidecarEngine;

/** One call that runs, one that waits for it, one that is refused. */
beforeAll(async () => {
  server = await startRedis();
  redis = new Redis({ path: server.socketPath });
  const admin = createAdminEngine({ redis });
  await admin.loadLibrary();
  const nodes = [node('account', null, { concurrency: 1 }), node('model:other', 'account')];
  const tree = { key: KEY, account: { ...ACCOUNT, uid: 'uid-1' }, nodes };
  await admin.configure(tree, { leaseCreatedMs: START_MS, transitions: 0, generation: 1 });
  sidecar = createSidecarEngine({ redis, treeKey: KEY });
  const first = await sidecar.acquire(request('first'));
  await sidecar.acquire(request('second', { wait: { mode: 'UntilSlot', maxWaitMs: 60_000 } }));
  await sidecar.acquire(request('third'));
  if (first.kind !== 'granted') throw new Error('not granted');
  await sidecar.settle([settlement('first', first.fence)]);
});

afterAll(async () => {
  redis.disconnect();
  await server[Symbol.asyncDispose]();
});

async function replay(...args: readonly string[]) {
  const all = [MAIN, '--redis', `redis://127.0.0.1:${server.port}`, '--tree', 'glm/max', ...args];
  const child = spawn(process.execPath, all, { stdio: ['ignore', 'pipe', 'pipe'] });
  const ended = once(child, 'exit');
  const [out, problems] = await Promise.all([text(child.stdout), text(child.stderr)]);
  const [code] = await ended;
  return { out, problems, code: code as number };
}

test('L1 the command says that every verdict is as the ledger says, and ends with 0', async () => {
  const { out, code } = await replay();
  expect(out).toContain('Replayed 4 calls: every verdict is as the ledger says');
  expect(code).toBe(0);
});

test('L1 with another limit it says who would have been told something else', async () => {
  const { out, code } = await replay('--limit', 'account/concurrency=5');
  expect(out).toMatch(/granted at once +1 +2/);
  expect(out).toMatch(/account +slots +0 → 0 +1 → 0/);
  expect(out).toMatch(/second +account +granted after [\d.]+ s \(account\/slots\) +granted$/m);
  expect(code).toBe(0);
});

test('L1 as JSON it says the same to programs', async () => {
  const { out } = await replay('--json', '--limit', 'account/concurrency=5');
  expect(JSON.parse(out)).toMatchObject({
    tree: 'glm/max',
    counts: { checked: 4, skipped: 0, gaps: 0 },
    differences: [],
    whatIf: { before: { grantedLater: 1 }, after: { grantedLater: 0 } },
  });
});

test('a tree without a ledger, a limit nobody has and a wrong command line end with 2', async () => {
  expect(await replay('--tree', 'glm/min')).toMatchObject({
    code: 2,
    problems: 'Redis has no ledger of glm/min from there on\n',
  });
  expect(await replay('--limit', 'account/weekly=5')).toMatchObject({ code: 2 });
  expect(await replay('--redis', 'nowhere')).toMatchObject({ code: 2 });
});

test('L1 a verdict that differs is shown with both answers, and the command ends with 1', async () => {
  // A counter goes missing behind the engine's back: it grants a slot that is taken.
  await redis.hdel(`q:{${KEY}}:n`, 'account');
  expect((await sidecar.acquire(request('wrong'))).kind).toBe('granted');
  const { out, code } = await replay();
  expect(out).toMatch(/Replayed 5 calls: 1 differs/);
  expect(out).toMatch(/acquire +wrong +\{"kind":"granted".+ +\{"kind":"denied","reason":"Concurrency"/);
  expect(code).toBe(1);
});
