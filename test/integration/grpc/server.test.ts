import { mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { LeaseService } from '#proto/glmquota/v1/lease_pb.ts';
import { Health, HealthCheckResponse_ServingStatus as Status } from '#proto/grpc/health/v1/health_pb.ts';
import { createCell } from '#sidecar/base/cell.ts';
import { systemClock } from '#sidecar/base/clock.ts';
import { createLog } from '#sidecar/base/log.ts';
import { serveGrpc } from '#sidecar/grpc/server.ts';
import type { LeaseDesk } from '#sidecar/leases/terms.ts';
import { Channel } from '#sidecar/rpc/channel.ts';
import { createClient } from '#sidecar/rpc/client.ts';

const closedDesk: LeaseDesk = {
  admit: async () => ({ kind: 'unavailable', message: 'closed' }),
  drain: async () => undefined,
  inFlight: 0,
  waiting: () => [],
};

async function open(ready = createCell(true)) {
  const folder = await mkdtemp(join(tmpdir(), 'grpc-'));
  const socket = join(folder, 'lease.sock');
  await writeFile(socket, 'left behind by a process that was killed');
  const status = { binding: () => null, snapshot: async () => null };
  const options = { desk: closedDesk, status, ready, port: 0, socket, clock: systemClock, log: createLog('silent') };
  const server = await serveGrpc(options);
  const channels = [`127.0.0.1:${server.port}`, `unix:${socket}`].map(
    (address) => new Channel({ address, security: { kind: 'plain' }, clock: systemClock }),
  );
  onTestFinished(async () => {
    for (const channel of channels) channel[Symbol.dispose]();
    await server[Symbol.asyncDispose]();
    await rm(folder, { recursive: true });
  });
  return { channels, socket, ready, options: { ...options, port: server.port } };
}

test('LeaseService and health answer on loopback and on the Unix socket', async () => {
  const { channels } = await open();
  for (const channel of channels) {
    await expect(createClient(LeaseService, channel).acquire({ model: 'm' })).rejects.toMatchObject({
      code: 'unavailable',
      message: 'closed',
    });
    expect((await createClient(Health, channel).check({})).status).toBe(Status.SERVING);
  }
});

test("the agent's user may connect to the socket", async () => {
  const { socket } = await open();
  expect((await stat(socket)).mode & 0o777).toBe(0o666);
});

test('health says what is ready, by server and by service, and not what is unknown', async () => {
  const { channels, ready } = await open(createCell(false));
  const health = createClient(Health, channels[0]!);
  expect((await health.check({ service: 'glmquota.v1.LeaseService' })).status).toBe(Status.NOT_SERVING);
  await expect(health.check({ service: 'other' })).rejects.toMatchObject({ code: 'notFound' });
  const told: Status[] = [];
  for await (const { status } of health.watch({})) {
    told.push(status);
    if (told.length === 2) break;
    ready.set(true);
  }
  expect(told).toEqual([Status.NOT_SERVING, Status.SERVING]);
  const unknown = health.watch({ service: 'other' })[Symbol.asyncIterator]();
  expect(((await unknown.next()).value as { status: Status }).status).toBe(Status.SERVICE_UNKNOWN);
  await unknown.return?.();
});

test('a port that is taken is said to be taken, and nothing stays open', async () => {
  const { options } = await open();
  await expect(serveGrpc({ ...options, socket: null })).rejects.toMatchObject({ code: 'unavailable' });
});
