import { expect, test } from 'vitest';
import { LeaseService, Outcome } from '#proto/glmquota/v1/lease_pb.ts';
import { systemClock } from '#sidecar/base/clock.ts';
import { Channel } from '#sidecar/rpc/channel.ts';
import { createClient } from '#sidecar/rpc/client.ts';
import { CHAT, chatBody, NOTHING, World } from './world.ts';

test('vendor and Redis may speak TLS with certificates of their own CA', async () => {
  await using world = await World.start({ tls: true });
  await world.sidecar();
  const response = await fetch(world.url + CHAT, { method: 'POST', body: chatBody() });
  expect(response.status).toBe(200);
  expect(await world.remains()).toEqual(NOTHING);
});

test('tools are metered beside calls: acquired, settled by their use, shown with what is left', async () => {
  await using world = await World.start();
  const { grpcPort } = await world.sidecar();
  using channel = new Channel({ address: `127.0.0.1:${grpcPort}`, security: { kind: 'plain' }, clock: systemClock });
  const client = createClient(LeaseService, channel);
  const estimate = { inputTokens: 100n, cachedTokens: 0n, outputTokens: 50n };
  const { verdict } = await client.acquire({ id: 'tool-1', model: 'glm-5.3', estimate });
  expect(verdict.case).toBe('granted');
  expect(await world.inFlight()).toBe(1);
  const usage = { inputTokens: 10n, cachedTokens: 0n, outputTokens: 7n };
  expect(await client.settle({ id: 'tool-1', outcome: Outcome.COMPLETED, usage })).toMatchObject({ late: false });
  const status = await client.status({});
  const window = status.nodes
    .find(({ name }) => name === 'account')
    ?.limits.find((limit) => limit.resource === 'Tokens');
  expect(window).toMatchObject({ used: 17n, reserved: 0n });
  expect(await world.remains()).toEqual(NOTHING);
});

test('the per-agent limit holds for one process, whatever the account allows', async () => {
  await using world = await World.start({ concurrency: 4, binding: { perAgentConcurrency: 1 } });
  await world.sidecar();
  const first = fetch(world.url + CHAT, { method: 'POST', body: chatBody('[[sim hold=first]]') });
  await world.until(async () => (await world.control.flights()).length === 1);
  const second = await fetch(world.url + CHAT, { method: 'POST', body: chatBody() });
  expect(second.status).toBe(429);
  expect(second.headers.get('x-glmquota-denied-by')).toBe('quota:team/a/per-agent');
  await world.control.release('first');
  expect((await first).status).toBe(200);
  expect((await fetch(world.url + CHAT, { method: 'POST', body: chatBody() })).status).toBe(200);
  expect(await world.remains()).toEqual(NOTHING);
});

test('one call after the other never meets its own slot, with room for one only', async () => {
  await using world = await World.start({ concurrency: 1 });
  await world.sidecar();
  const statuses = new Set<number>();
  for (let call = 0; call < 50; call++) {
    const stream = call % 2 === 0;
    const response = await fetch(world.url + CHAT, { method: 'POST', body: chatBody('', { stream }) });
    await response.text();
    statuses.add(response.status);
  }
  expect([...statuses]).toEqual([200]);
  expect(await world.remains()).toEqual(NOTHING);
});

test('a sidecar that stood still longer than a lease lives puts its running calls back', async () => {
  await using world = await World.start({ concurrency: 1 });
  const [still, other] = [await world.sidecar(), await world.sidecar()];
  const body = chatBody('[[sim midhold=long tokens=40]]', { stream: true });
  const response = await fetch(still.http + CHAT, { method: 'POST', body });
  const reader = response.body!.getReader();
  await reader.read();
  still.child.kill('SIGSTOP');
  await world.until(async () => {
    // Expiry happens within calls: somebody has to make one.
    await (await fetch(other.http + CHAT, { method: 'POST', body: '{"model":"other"}' })).text();
    return (await world.tree()).nodes.every(({ inFlight }) => inFlight === 0);
  }, 40_000);
  still.child.kill('SIGCONT');
  await world.until(async () => (await world.inFlight()) === 1);
  const refused = await fetch(other.http + CHAT, { method: 'POST', body: chatBody() });
  expect(refused.status).toBe(429);
  await world.control.release('long');
  for (let part = await reader.read(); !part.done; part = await reader.read());
  expect(await world.remains()).toEqual(NOTHING);
  expect(await world.used('OutputTokens')).toBeGreaterThanOrEqual(40);
});
