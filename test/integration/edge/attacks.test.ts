import { expect, test } from 'vitest';
import { agentPod } from '#test/support/edge/pods.ts';
import { REQUEST, startTestEdge, watching } from '#test/support/edge/edge.ts';
import { rawToken, tokenFor } from '#test/support/edge/tokens.ts';
import { teamQuota } from '#test/support/edge/world.ts';
import { account } from '#test/unit/trees/world.ts';

test.each<[string, string | undefined]>([
  ['no token', undefined],
  ['a token that is none', 'hunter2'],
  ['a token for the API server', tokenFor({ audience: ['https://kubernetes.default.svc'] })],
  ['an expired token', tokenFor({ lifetimeMs: -1_000 })],
  ['a token of no pod', rawToken({ aud: 'glmquota', exp: 9e9, sub: 'system:serviceaccount:a:b' })],
])('%s is refused without asking the API server', async (_, bearer) => {
  const { client, reviewer, pods } = await startTestEdge();
  pods.upsert(agentPod());
  const stream = client.watch(REQUEST, bearer === undefined ? {} : { bearer })[Symbol.asyncIterator]();
  await expect(stream.next()).rejects.toMatchObject({ code: 'unauthenticated' });
  expect(reviewer.reviews).toBe(0);
});

test('a well-formed token that nobody signed is refused by the API server', async () => {
  const { client, reviewer, pods } = await startTestEdge();
  pods.upsert(agentPod());
  await expect(watching(client, tokenFor()).next()).rejects.toMatchObject({ code: 'unauthenticated' });
  expect(reviewer.reviews).toBe(1);
});

test('1,000 garbage tokens do not reach the API server, and a good one still does', async () => {
  const { client, reviewer, pods, vouch } = await startTestEdge();
  pods.upsert(agentPod());
  const garbage = Array.from({ length: 1_000 }, (_, i) => {
    if (i % 4 === 0) return `garbage-${i}`;
    if (i % 4 === 1) return tokenFor({ audience: 'other', id: `${i}` });
    if (i % 4 === 2) return tokenFor({ pod: `made-up-${i}`, uid: `made-up-${i}` });
    return tokenFor({ uid: `made-up-${i}` });
  });
  const codes = await Promise.all(
    garbage.map((bearer) =>
      client
        .watch(REQUEST, { bearer })
        [Symbol.asyncIterator]()
        .next()
        .then(
          () => 'served',
          (error: { code: string }) => error.code,
        ),
    ),
  );
  expect(new Set(codes)).toEqual(new Set(['unauthenticated', 'unavailable']));
  expect(reviewer.reviews).toBe(0);
  expect((await watching(client, vouch(tokenFor())).next()).upstream?.apiKey).toBe('vendor-key');
  expect(reviewer.reviews).toBe(1);
});

test("another pod's token is refused from here, good as it is", async () => {
  const { client, reviewer, pods, vouch } = await startTestEdge();
  pods.upsert(agentPod({ address: '10.1.2.3' }));
  await expect(watching(client, vouch(tokenFor())).next()).rejects.toMatchObject({
    code: 'unauthenticated',
    message: 'the call does not come from the address of its pod',
  });
  expect(reviewer.reviews).toBe(0);
});

test('the address does not matter when its check is switched off', async () => {
  const { client, pods, vouch } = await startTestEdge({ verifyPeerAddress: false });
  pods.upsert(agentPod({ address: '10.1.2.3' }));
  expect((await watching(client, vouch(tokenFor())).next()).binding?.quota).toBe('glm/team-a');
});

test('a token that names one pod and belongs to another is refused', async () => {
  const { client, pods, vouch } = await startTestEdge();
  pods.upsert(agentPod());
  const token = vouch(tokenFor(), { name: 'agent-2', uid: 'uid-agent-2' });
  await expect(watching(client, token).next()).rejects.toMatchObject({ code: 'unauthenticated' });
});

test.each<[string, ReturnType<typeof agentPod>, string]>([
  ['without a sidecar', agentPod({ spec: { initContainers: [] } }), 'has no sidecar'],
  [
    'with a foreign image',
    agentPod({ image: 'registry.example.com/mine:latest' }),
    'runs image registry.example.com/mine:latest',
  ],
  [
    'with a sidecar among its own containers',
    agentPod({ spec: { initContainers: [], containers: [{ name: 'glmquota-sidecar' }] } }),
    'has no sidecar',
  ],
  ['that has ended', agentPod({ phase: 'Succeeded' }), 'has ended'],
])('a pod %s is sent nothing', async (_, pod, message) => {
  const { client, pods, reviewer, vouch } = await startTestEdge();
  pods.upsert(pod);
  await expect(watching(client, vouch(tokenFor())).next()).rejects.toMatchObject({
    code: 'forbidden',
    message: expect.stringContaining(message),
  });
  expect(reviewer.reviews).toBe(0);
});

test('a pod whose quota does not admit it is sent nothing', async () => {
  const { client, pods, world, vouch } = await startTestEdge();
  pods.upsert(agentPod());
  world.change({ quotas: [teamQuota({ consumers: { from: 'Same' } })] });
  await expect(watching(client, vouch(tokenFor())).next()).rejects.toMatchObject({
    code: 'forbidden',
    message: expect.stringContaining('QuotaNotGranted: GLMQuota glm/team-a does not admit pods of namespace team-a'),
  });
});

test('a pod where the key may not go is sent nothing', async () => {
  const { client, pods, world, vouch } = await startTestEdge();
  pods.upsert(agentPod());
  world.change({ accounts: [account('max', { keyDelivery: { mode: 'Sidecar', namespaces: { from: 'Same' } } })] });
  await expect(watching(client, vouch(tokenFor())).next()).rejects.toMatchObject({
    code: 'forbidden',
    message: expect.stringContaining('KeyDeliveryForbidden'),
  });
});

test('a quota that is not there is not guessed', async () => {
  const { client, pods, vouch } = await startTestEdge();
  pods.upsert(agentPod({ quota: 'glm/other' }));
  await expect(watching(client, vouch(tokenFor())).next()).rejects.toMatchObject({
    code: 'forbidden',
    message: expect.stringContaining('QuotaNotFound'),
  });
});

test.each<[string, object, string]>([
  ['too old', { sidecarVersion: '0.0.9' }, 'unsupported'],
  ['unable to call the engine', { engineVersions: ['0'] }, 'unsupported'],
  ['of no version', { sidecarVersion: 'x'.repeat(10_000) }, 'invalid'],
])('a sidecar %s is told so before any key is sent', async (_, change, code) => {
  const { client, pods, vouch } = await startTestEdge();
  pods.upsert(agentPod());
  const stream = client.watch({ ...REQUEST, ...change }, { bearer: vouch(tokenFor()) })[Symbol.asyncIterator]();
  await expect(stream.next()).rejects.toMatchObject({ code });
});
