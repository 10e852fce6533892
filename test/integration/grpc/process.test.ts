import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { LeaseService, Outcome } from '#proto/glmquota/v1/lease_pb.ts';
import { Health, HealthCheckResponse_ServingStatus as Status } from '#proto/grpc/health/v1/health_pb.ts';
import { systemClock } from '#sidecar/base/clock.ts';
import { Channel } from '#sidecar/rpc/channel.ts';
import { createClient } from '#sidecar/rpc/client.ts';
import { acquire, renewing, WORK } from '#test/support/grpc/lease-service.ts';
import { World } from '../sidecar/world.ts';

/** A channel to a real sidecar process with a real Redis. */
function channelTo(address: string): Channel {
  const channel = new Channel({ address, security: { kind: 'plain' }, clock: systemClock });
  onTestFinished(() => channel[Symbol.dispose]());
  return channel;
}

async function worldWithSidecar(options: Parameters<typeof World.start>[0] = {}) {
  const world = await World.start(options);
  onTestFinished(() => world[Symbol.asyncDispose]());
  const sidecar = await world.sidecar();
  return { world, sidecar, client: createClient(LeaseService, channelTo(`127.0.0.1:${sidecar.grpcPort}`)) };
}

test('work acquired over gRPC is counted in Redis while it runs and by its use when it ends', async () => {
  const { world, client } = await worldWithSidecar();
  const id = await acquire(client);
  expect(await world.inFlight()).toBe(1);
  const { nodes, quota } = await client.status({});
  expect(quota).toBe('team/a');
  expect(nodes.map(({ name, inFlight }) => [name, inFlight])).toEqual([
    ['quota:team/a', 1],
    ['account', 1],
  ]);
  const tokens = nodes[1]?.limits.find(({ resource }) => resource === 'Tokens');
  expect(tokens).toMatchObject({ used: 0n, reserved: 150n });
  await client.settle({ id, outcome: Outcome.COMPLETED, usage: { inputTokens: 70n, outputTokens: 30n } });
  expect(await world.used('Tokens')).toBe(100);
  expect(await world.used('Requests')).toBe(1);
  await world.quiet();
  expect(await world.drifts()).toEqual([]);
});

test('of more work than slots the rest is denied at once; a cancelled slot is free again', async () => {
  const { world, client } = await worldWithSidecar({ concurrency: 4 });
  const verdicts = await Promise.all(Array.from({ length: 20 }, () => client.acquire(WORK)));
  const granted = verdicts.flatMap(({ verdict }) => (verdict.case === 'granted' ? [verdict.value.id] : []));
  const reasons = new Set(verdicts.flatMap(({ verdict }) => (verdict.case === 'denied' ? [verdict.value.reason] : [])));
  expect([granted.length, [...reasons]]).toEqual([4, ['Concurrency']]);
  await client.cancel({ id: granted[0]! });
  const freed = await acquire(client);
  for (const id of [...granted.slice(1), freed]) await client.settle({ id, outcome: Outcome.FAILED });
  await world.quiet();
  expect(await world.used('Tokens')).toBe(0);
  expect(await world.drifts()).toEqual([]);
});

test('work whose caller vanished gives its slot back and is charged its estimate', async () => {
  const { world, client } = await worldWithSidecar();
  const kept = await acquire(client);
  const renew = renewing(client);
  renew.send(kept);
  expect(await renew.next()).toEqual([kept, true]);
  await acquire(client);
  const startedMs = performance.now();
  await world.until(async () => (await world.inFlight()) === 1, 40_000);
  console.log(`the slot was back after ${Math.round(performance.now() - startedMs)} ms`);
  expect(await world.used('Tokens')).toBe(150);
  expect(await client.settle({ id: kept, outcome: Outcome.COMPLETED, usage: { outputTokens: 1n } })).toMatchObject({
    late: false,
  });
  await renew.end();
  await world.quiet();
  expect(await world.used('Tokens')).toBe(151);
  expect(await world.drifts()).toEqual([]);
});

test('without Redis work is unavailable; afterwards it is granted again and nothing was lost', async () => {
  const { world, client } = await worldWithSidecar();
  const before = await acquire(client);
  await world.redis.kill();
  await expect(client.acquire(WORK)).rejects.toMatchObject({ code: 'unavailable' });
  await expect(client.status({})).rejects.toMatchObject({ code: 'unavailable' });
  await world.redis.restart();
  await world.until(() =>
    client.acquire(WORK).then(
      ({ verdict }) => verdict.case === 'granted',
      () => false,
    ),
  );
  await client.settle({ id: before, outcome: Outcome.COMPLETED, usage: { inputTokens: 5n } });
  await world.until(async () => (await world.used('Tokens')) === 5);
});

test('the Unix socket and the health service are those of the process', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'lease-'));
  onTestFinished(() => rm(folder, { recursive: true }));
  const socket = join(folder, 'lease.sock');
  const { world } = await worldWithSidecar({ env: { GLMQUOTA_SOCKET: socket } });
  const channel = channelTo(`unix:${socket}`);
  expect((await createClient(Health, channel).check({ service: LeaseService.typeName })).status).toBe(Status.SERVING);
  const id = await acquire(createClient(LeaseService, channel));
  await createClient(LeaseService, channel).cancel({ id });
  await world.quiet();
});
