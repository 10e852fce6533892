/** Every sidecar of a large cluster loses its connection at once. `npm run proof` makes it 5,000 instead of 200. */
import { Redis } from 'ioredis';
import { expect, onTestFinished, test } from 'vitest';
import { treeRules } from '#sidecar/engine/acl.ts';
import { createAdminEngine, createSidecarEngine } from '#sidecar/engine/client.ts';
import { connectRedis } from '#sidecar/engine/connect.ts';
import { isFull, leftOut } from '#test/proof/mode.ts';
import { node, request, settlement, treeOf, TREE_KEY } from '#test/support/engine.ts';
import { eventually } from '#test/support/redis-stage.ts';
import { startRedis } from '#test/support/redis.ts';

const CONNECTIONS = isFull ? 5000 : 200;
leftOut('5,000 TLS reconnects at once, 200 here');
const USER = { username: 'sidecar', password: 'secret' };

test(`${CONNECTIONS} connections over TLS come back after a restart of Redis, and what was running still counts`, async () => {
  const rules = `on >${USER.password} ${treeRules(TREE_KEY, 'functions').join(' ')}`;
  await using server = await startRedis({ tls: true, durable: true, users: { [USER.username]: rules } });
  const root = new Redis({ path: server.socketPath });
  root.on('error', () => undefined);
  onTestFinished(() => root.disconnect());
  const admin = createAdminEngine({ redis: root });
  await admin.loadLibrary();
  const revision = { leaseCreatedMs: 1, transitions: 0, generation: 1 };
  await admin.configure(treeOf([node('account', null, { concurrency: 1 })]), revision);

  const settings = { url: server.url, ...USER, caPem: server.ca };
  const connections = Array.from({ length: CONNECTIONS }, (_, i) =>
    connectRedis(settings, { name: `sidecar-${i}`, onError: () => undefined }),
  );
  onTestFinished(async () => {
    for (const each of connections) await each[Symbol.asyncDispose]();
  });
  const signal = AbortSignal.timeout(240_000);
  await Promise.all(connections.map((each) => each.ready(signal)));
  const sidecars = connections.map(({ redis }) => createSidecarEngine({ redis, treeKey: TREE_KEY }));
  const [first] = sidecars;
  const grant = await first?.acquire(request('1'));
  if (grant?.kind !== 'granted') throw new Error(JSON.stringify(grant));

  await server.kill();
  const isLost = async (): Promise<boolean> => connections.every(({ redis }) => redis.status !== 'ready');
  await eventually(isLost, 'every connection is lost');
  await server.restart();
  await Promise.all(connections.map((each) => each.ready(signal)));
  const snapshots = await Promise.all(sidecars.map((each) => each.snapshot()));
  expect(snapshots.filter((snapshot) => snapshot?.leases === 1)).toHaveLength(CONNECTIONS);
  expect(String(await root.client('LIST')).match(/name=sidecar-/g)).toHaveLength(CONNECTIONS);

  const leases = [{ lease: grant, request: request('1'), sent: true }];
  const registered = await first?.register({ owner: 'pod-1', leases, disclaimed: [] });
  expect(registered?.epoch).toBeGreaterThan(grant.epoch);
  expect(await first?.settle([settlement('1', grant.fence)])).toMatchObject([{ kind: 'settled', late: false }]);
}, 300_000);
