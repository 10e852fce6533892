import { afterAll, beforeAll, expect, test } from 'vitest';
import { createTreeMetrics } from '#operator/controllers/metrics.ts';
import { PodOwners } from '#operator/controllers/pods/owners.ts';
import { compileTrees } from '#operator/trees/compile.ts';
import { createLog } from '#sidecar/base/log.ts';
import { createRegistry } from '#sidecar/base/metrics.ts';
import { createAdminEngine, createSidecarEngine } from '#sidecar/engine/client.ts';
import type { AdminEngine, SidecarEngine } from '#sidecar/engine/port.ts';
import { request } from '#test/support/engine.ts';
import { startRedis, type TestRedis } from '#test/support/redis.ts';
import { account, quota, world } from '../../unit/trees/world.ts';
import { openRedis } from './stand.ts';

const compiled = compileTrees(
  world({
    accounts: [account('max', { concurrency: { mode: 'Fixed', max: 1000 }, limits: [] })],
    quotas: [quota('glm/team', { accountRef: { name: 'max' } })],
  }),
);
const { tree, treeKey } = compiled.accounts.get('glm/max')!;
const { signal } = new AbortController();
const gone = { uid: 'pod-1', quota: 'glm/team', state: 'open' } as const;

let server: TestRedis;
let link: ReturnType<typeof openRedis>;
let admin: AdminEngine;
/** Of the process that lives on although its pod is gone for Kubernetes. */
let sidecar: SidecarEngine;

beforeAll(async () => {
  server = await startRedis();
  link = openRedis(server.url);
  admin = createAdminEngine({ redis: link });
  sidecar = createSidecarEngine({ redis: link, treeKey });
  await admin.loadLibrary();
  await admin.configure(tree!, { leaseCreatedMs: 1, transitions: 0, generation: 1 });
});

afterAll(async () => {
  link?.disconnect();
  await server?.[Symbol.asyncDispose]();
});

let asked = 0;
const ask = async (): Promise<string> => {
  const reply = await sidecar.acquire(request(`call-${++asked}`, { owner: 'pod-1/a', leaf: 'quota:glm/team' }));
  return reply.kind === 'denied' ? reply.reason : reply.kind;
};
const liveLeases = async (): Promise<number> =>
  (await admin.snapshot(treeKey))!.nodes.find(({ name }) => name === 'quota:glm/team')!.inFlight;

test('a process whose pod is gone gets nothing new while its leases are taken back, pass by pass', async () => {
  for (let call = 0; call < 300; call++) expect(await ask()).toBe('granted');
  const answers: string[] = [];
  const rounds: number[] = [];
  const owners = new PodOwners({
    engine: {
      drain: async (...args) => admin.drain(...args),
      reclaim: async (...args) => {
        const ended = await admin.reclaim(...args);
        rounds.push(ended.leases);
        answers.push(await ask());
        return ended;
      },
    },
    world: { current: compiled },
    log: createLog('silent'),
    metrics: createTreeMetrics(createRegistry()),
  });
  owners.note({ kind: 'deleted', previous: { key: 'glm/agent', uid: 'pod-1', resourceVersion: '1', value: gone } });

  expect(await owners.reconcile('pod-1', signal)).toEqual({ kind: 'again', afterMs: 0 });
  expect(rounds).toEqual([64, 64, 64, 64]);

  expect(await owners.reconcile('pod-1', signal)).toMatchObject({ kind: 'again' });
  expect(rounds.slice(4)).toEqual([44, 0]);
  expect(new Set(answers)).toEqual(new Set(['Draining']));
  expect(await ask()).toBe('Draining');

  expect(await owners.reconcile('pod-1', signal)).toEqual({ kind: 'done' });
  expect(await ask()).toBe('granted');
  expect(await liveLeases()).toBeGreaterThanOrEqual(1);
});
