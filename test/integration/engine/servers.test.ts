import { expect, test } from 'vitest';
import { serversOf } from '#sidecar/engine/servers.ts';
import { startCluster } from '#test/support/redis-cluster.ts';
import { OPERATOR } from '#test/support/redis-stage.ts';
import { open } from './topology-fixture.ts';

test('F2 a master without slots is reached by its host name where certificates name hosts only', async () => {
  await using cluster = await startCluster({ tls: true, acl: true, hostsOnly: true });
  const [idle] = cluster.servers;
  if (!idle) throw new Error('a cluster of none');
  await cluster.empty(idle);
  using servers = serversOf((await open(cluster, OPERATOR)).redis);
  const all = await servers.list(AbortSignal.timeout(10_000));
  expect(new Set(all.map(({ address }) => address))).toEqual(
    new Set(cluster.servers.map(({ port }) => `localhost:${port}`)),
  );
  expect(await Promise.all(all.map((each) => each.call('PING')))).toEqual(['PONG', 'PONG', 'PONG']);
});
