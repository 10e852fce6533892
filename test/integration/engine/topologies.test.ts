/** The engine with replicas: calls that wait for them, and fail-overs. */
import { expect, test } from 'vitest';
import { createDialect } from '#sidecar/engine/caller.ts';
import { createSidecarEngine } from '#sidecar/engine/client.ts';
import { createConfirmer } from '#sidecar/engine/confirm.ts';
import { request, settlement, TREE_KEY } from '#test/support/engine.ts';
import { eventually, OPERATOR } from '#test/support/redis-stage.ts';
import { infoOf, startReplicated, startSentinels } from '#test/support/redis-topologies.ts';
import {
  afterwards,
  configure,
  everyServerHasUser,
  granted,
  keepUsers,
  keys,
  open,
  TREE_USER,
} from './topology-fixture.ts';

test('a confirmed call says whether the replica has it', async () => {
  await using topology = await startReplicated();
  const connection = await open(topology);
  await configure(connection, { concurrency: 5 });
  const sidecar = createSidecarEngine({ redis: connection.redis, treeKey: TREE_KEY });
  const confirmed = createConfirmer(connection.redis, createDialect());
  const { id, fence } = await granted(sidecar, '1');
  const claim = (replicas: number, timeoutMs: number) =>
    confirmed('claim', { keys, args: [id, String(fence)] }, { replicas, timeoutMs }, undefined);
  expect(await claim(1, 1000)).toEqual({ reply: 1, isReplicated: true });
  expect(await claim(2, 20)).toEqual({ reply: 1, isReplicated: false });
  topology.link.cut();
  expect(await claim(1, 20)).toEqual({ reply: 1, isReplicated: false });
  topology.link.mend();
  expect(await claim(1, 1000)).toEqual({ reply: 1, isReplicated: true });
});

test('a confirmed call that waits for a replica holds up no other call', async () => {
  await using topology = await startReplicated();
  const connection = await open(topology);
  await configure(connection, { concurrency: 5 });
  const sidecar = createSidecarEngine({ redis: connection.redis, treeKey: TREE_KEY });
  const confirmed = createConfirmer(connection.redis, createDialect());
  const { id, fence } = await granted(sidecar, '1');
  topology.link.cut();
  const order: string[] = [];
  const wait = { replicas: 1, timeoutMs: 1500 };
  const claim = confirmed('claim', { keys, args: [id, String(fence)] }, wait, undefined).then(() =>
    order.push('claim'),
  );
  const admin = topology.admin(topology.master);
  await eventually(async () => Number(await infoOf(admin, 'blocked_clients')) === 1, 'WAIT blocks its connection');
  await sidecar.snapshot().then(() => order.push('snapshot'));
  await claim;
  expect(order).toEqual(['snapshot', 'claim']);
});

test('a confirmed call works in the form of scripts, which the server forgot', async () => {
  await using topology = await startReplicated();
  const connection = await open(topology);
  await configure(connection, { concurrency: 5 });
  const sidecar = createSidecarEngine({ redis: connection.redis, treeKey: TREE_KEY });
  const { id, fence } = await granted(sidecar, '1');
  const confirmed = createConfirmer(connection.redis, createDialect({ form: 'scripts' }));
  const claim = confirmed('claim', { keys, args: [id, String(fence)] }, { replicas: 1, timeoutMs: 1000 }, undefined);
  expect(await claim).toEqual({ reply: 1, isReplicated: true });
});

test('W2 R1→R2→R1 without any word between them: whoever saw the other one is told, and nothing is lost to both', async () => {
  await using topology = await startReplicated();
  const connection = await open(topology);
  await configure(connection, { concurrency: 2 });
  const { redis } = connection;
  const sidecar = createSidecarEngine({ redis, treeKey: TREE_KEY });
  const first = await granted(sidecar, '1');
  await topology.caughtUp();
  topology.link.cut();
  await topology.admin(topology.replica).call('REPLICAOF', 'NO', 'ONE');
  topology.front.leadTo(topology.replica.port);
  topology.front.drop();
  const told = await afterwards(() => sidecar.acquire(request('2', { epoch: first.epoch })));
  expect(told).toMatchObject({ kind: 'epoch' });
  const leases = [{ lease: first, request: request('1'), sent: true }];
  const second = await sidecar.register({ owner: 'pod-1', leases, disclaimed: [] });
  expect(second.epoch).toBeGreaterThan(first.epoch);
  const atSecond = await granted(sidecar, '2', second.epoch);

  topology.front.leadTo(topology.master.port);
  topology.front.drop();
  const back = await afterwards(() => sidecar.acquire(request('3', { epoch: second.epoch })));
  expect(back).toMatchObject({ kind: 'epoch' });
  const held = [...leases, { lease: atSecond, request: request('2'), sent: true }];
  const third = await sidecar.register({ owner: 'pod-1', leases: held, disclaimed: [] });
  expect(third.epoch).toBeGreaterThan(second.epoch);
  expect(await sidecar.acquire(request('3', { epoch: third.epoch }))).toMatchObject({ kind: 'denied' });
  expect(await sidecar.snapshot()).toMatchObject({ leases: 2, epoch: third.epoch });
});

test("F2 W2 R1→R2→R1 through Sentinel goes on with the tree's user, and each fail-over raises the epoch once", async () => {
  await using topology = await startSentinels({ tls: true, acl: true });
  const operator = await open(topology, OPERATOR);
  const admin = await configure(operator, { concurrency: 3 });
  await keepUsers(operator, topology);
  const { redis } = await open(topology, TREE_USER);
  const sidecar = createSidecarEngine({ redis, treeKey: TREE_KEY });
  const first = await granted(sidecar, '1');
  const leases = [{ lease: first, request: request('1'), sent: true }];
  const home = await topology.master();

  let epoch = first.epoch;
  for (const round of ['away', 'back']) {
    await operator.redis.call('WAIT', 1, 1000);
    const before = await topology.master();
    await before.kill();
    expect(await afterwards(() => sidecar.acquire(request(round, { epoch })))).toMatchObject({ kind: 'epoch' });
    const next = await sidecar.register({ owner: 'pod-1', leases, disclaimed: [] });
    expect(next.epoch).toBeGreaterThan(epoch);
    ({ epoch } = next);
    await granted(sidecar, `${round}-after`, epoch);
    // It comes back without users: they are not in its file, and no master hands them on.
    await topology.rejoin(before);
    await everyServerHasUser(topology);
    const beat = await sidecar.beat({ owner: 'pod-1', epoch, leases: [first], waiters: [] });
    expect(beat).toMatchObject({ kind: 'alive', epoch, lost: [] });
  }
  expect(await topology.master()).toBe(home);
  expect(await sidecar.settle([settlement('1', first.fence)])).toMatchObject([{ kind: 'settled', late: false }]);
  expect((await admin.audit(TREE_KEY)).drifts).toEqual([]);
});
