import { expect, test } from 'vitest';
import { startSidecar } from './fixture.ts';
import { CHAT, chatBody, runMain, World } from './world.ts';

test('SIGTERM while no call runs ends the process at once with code 0', async () => {
  await using world = await World.start();
  const sidecar = await world.sidecar();
  expect((await fetch(world.url + CHAT, { method: 'POST', body: chatBody() })).status).toBe(200);
  const startedMs = performance.now();
  sidecar.child.kill('SIGTERM');
  expect(await sidecar.ended()).toBe(0);
  console.log(`ended after ${Math.round(performance.now() - startedMs)} ms`);
  expect(await world.inFlight()).toBe(0);
  expect(await world.drifts()).toEqual([]);
});

test('SIGTERM while an agent still works lets its calls finish, and takes new ones meanwhile', async () => {
  await using world = await World.start();
  const sidecar = await world.sidecar();
  const call = fetch(world.url + CHAT, { method: 'POST', body: chatBody('[[sim hold=work]]') });
  await world.until(async () => (await world.control.flights()).length === 1);
  sidecar.child.kill('SIGTERM');
  await world.until(() => sidecar.lines.some((line) => line.includes('sidecar.stopping')));
  expect((await fetch(world.url + CHAT, { method: 'POST', body: chatBody() })).status).toBe(200);
  await world.control.release('work');
  expect((await call).status).toBe(200);
  expect(await sidecar.ended()).toBe(0);
  expect(await world.inFlight()).toBe(0);
});

test('a second SIGTERM settles what runs by what was seen, and ends', async () => {
  await using world = await World.start();
  const sidecar = await world.sidecar();
  const response = await fetch(world.url + CHAT, {
    method: 'POST',
    body: chatBody('[[sim midhold=for-ever tokens=400]]', { stream: true }),
  });
  const reader = response.body!.getReader();
  await reader.read();
  sidecar.child.kill('SIGTERM');
  await world.until(() => sidecar.lines.some((line) => line.includes('sidecar.stopping')));
  sidecar.child.kill('SIGTERM');
  expect(await sidecar.ended()).toBe(0);
  expect(await world.inFlight()).toBe(0);
  expect(await world.drifts()).toEqual([]);
  const charged = await world.used('OutputTokens');
  expect(charged).toBeGreaterThan(0);
  expect(charged).toBeLessThan(400);
});

test('a sidecar killed with SIGKILL loses its leases when their lifetime is over, charged by their reserve', async () => {
  await using world = await World.start({ concurrency: 1 });
  const [killed, other] = [await world.sidecar(), await world.sidecar()];
  const lost = fetch(killed.http + CHAT, { method: 'POST', body: chatBody('[[sim hold=for-ever]]') });
  const failed = lost.catch((error: unknown) => error);
  await world.until(async () => (await world.control.flights()).length === 1);
  killed.child.kill('SIGKILL');
  expect(await failed).toBeInstanceOf(Error);
  const refused = await fetch(other.http + CHAT, { method: 'POST', body: chatBody() });
  expect(refused.status).toBe(429);
  const startedMs = performance.now();
  await world.until(
    async () => (await fetch(other.http + CHAT, { method: 'POST', body: chatBody() })).status === 200,
    40_000,
  );
  console.log(`the slot was back ${Math.round(performance.now() - startedMs)} ms after the kill`);
  await world.quiet();
  expect(await world.used('Requests')).toBe(2);
  expect(await world.drifts()).toEqual([]);
});

test('wrong configuration ends with code 2 and names every problem; --help tells what there is', async () => {
  const wrong = await runMain([], { GLMQUOTA_HTTP_PORT: 'x', GLMQUOTA_LOG_LEVEL: 'loud' });
  expect(wrong.code).toBe(2);
  for (const name of ['GLMQUOTA_HTTP_PORT', 'GLMQUOTA_LOG_LEVEL', 'GLMQUOTA_CONTROL_ADDRESS']) {
    expect(wrong.stderr).toContain(name);
  }
  const help = await runMain(['sidecar', '--help'], {});
  expect([help.code, help.stdout]).toEqual([0, expect.stringContaining('GLMQUOTA_SNAPSHOT_FILE')]);
  expect((await runMain(['--nonsense'], {})).code).toBe(2);
});

test('a snapshot file that cannot be read ends with code 1 and says so', async () => {
  const failed = await runMain([], {
    GLMQUOTA_SNAPSHOT_FILE: '/nowhere/at-all.json',
    GLMQUOTA_HTTP_PORT: '0',
    GLMQUOTA_GRPC_PORT: '0',
    GLMQUOTA_ADMIN_PORT: '0',
  });
  expect(failed.code).toBe(1);
  expect(failed.stdout).toContain('/nowhere/at-all.json');
});

test('without the operator it starts, gets ready after a while, and refuses calls with a reason', async () => {
  await using sidecar = await startSidecar(null);
  expect((await fetch(`${sidecar.admin}/startupz`)).status).toBe(200);
  expect((await fetch(`${sidecar.admin}/healthz`)).status).toBe(200);
  const refused = await fetch(sidecar.http + CHAT, { method: 'POST', body: chatBody() });
  expect(refused.status).toBe(503);
  expect(await refused.text()).toContain('operator');
});
