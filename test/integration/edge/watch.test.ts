import { connect } from 'node:tls';
import { expect, onTestFinished, test, vi } from 'vitest';
import { createCell } from '#sidecar/base/cell.ts';
import { systemClock } from '#sidecar/base/clock.ts';
import { createLog } from '#sidecar/base/log.ts';
import { followSnapshots } from '#sidecar/control/follow.ts';
import type { SidecarSnapshot } from '#sidecar/control/terms.ts';
import { SERVER_NAME, startTestEdge, type TestEdge, watching } from '#test/support/edge/edge.ts';
import { agentPod } from '#test/support/edge/pods.ts';
import { tokenFor } from '#test/support/edge/tokens.ts';
import { teamQuota } from '#test/support/edge/world.ts';

/** What the sidecar of the pod has in force, kept up to date by its own code. */
async function follow(edge: TestEdge, token: string) {
  const snapshots = createCell<SidecarSnapshot | null>(null);
  const stop = new AbortController();
  const sidecar = await edge.sidecar(token);
  const following = followSnapshots(
    { source: sidecar.source, snapshots, refusals: createCell(null), clock: systemClock, log: createLog('silent') },
    stop.signal,
  );
  onTestFinished(async () => {
    stop.abort();
    await following;
  });
  return { snapshots, replaceToken: (next: string) => sidecar.replaceToken(next) };
}

function within<T>(check: () => T): Promise<T> {
  return vi.waitFor(check, 20_000);
}

test('a sidecar follows its tree: published as soon as Redis holds it, never before', async () => {
  const edge = await startTestEdge();
  edge.pods.upsert(agentPod({ perAgentConcurrency: 2 }));
  const { snapshots } = await follow(edge, edge.vouch(tokenFor()));
  await within(() => expect(snapshots.value?.revision.generation).toBe(1));
  expect(snapshots.value?.binding).toMatchObject({ quota: 'glm/team-a', perAgentConcurrency: 2 });
  const before = snapshots.value;
  edge.world.change({ quotas: [teamQuota({ concurrency: { mode: 'Fixed', max: 3 } })] });
  const stream = watching(
    edge.client,
    edge.vouch(tokenFor({ pod: 'agent-2', uid: 'uid-agent-2' }), { name: 'agent-2', uid: 'uid-agent-2' }),
  );
  edge.pods.upsert(agentPod({ name: 'agent-2' }));
  const published = stream.next();
  expect(snapshots.value).toBe(before);
  edge.revisions.trees.set(edge.world.treeKey, edge.world.stateOf(2));
  await within(() => expect(snapshots.value?.revision.generation).toBe(2));
  expect((await published).revision?.generation).toBe(2n);
});

test('a rotated vendor key reaches the sidecar', async () => {
  const edge = await startTestEdge();
  edge.pods.upsert(agentPod());
  const { snapshots } = await follow(edge, edge.vouch(tokenFor()));
  await within(() => expect(snapshots.value?.upstream.apiKey).toBe('vendor-key'));
  edge.world.credentialInCache = { apiKey: 'rotated-key', origin: null, caPem: null };
  edge.world.change({});
  await within(() => expect(snapshots.value?.upstream.apiKey).toBe('rotated-key'));
});

test('a revoked grant takes the snapshot away, a renewed one brings it back', async () => {
  const edge = await startTestEdge();
  edge.pods.upsert(agentPod());
  const { snapshots } = await follow(edge, edge.vouch(tokenFor()));
  await within(() => expect(snapshots.value).not.toBeNull());
  edge.world.change({ quotas: [teamQuota({ consumers: { from: 'Same' } })] });
  edge.revisions.trees.set(edge.world.treeKey, edge.world.stateOf(2));
  await within(() => expect(snapshots.value).toBeNull());
  edge.world.change({ quotas: [teamQuota()] });
  edge.revisions.trees.set(edge.world.treeKey, edge.world.stateOf(3));
  await within(() => expect(snapshots.value?.revision.generation).toBe(3));
});

test('while Redis is away what was published stays, and new pods are served it too', async () => {
  const edge = await startTestEdge();
  edge.pods.upsert(agentPod());
  const first = watching(edge.client, edge.vouch(tokenFor()));
  await first.next();
  edge.revisions.down = true;
  edge.pods.upsert(agentPod({ name: 'agent-2' }));
  const second = watching(
    edge.client,
    edge.vouch(tokenFor({ pod: 'agent-2', uid: 'uid-agent-2' }), { name: 'agent-2', uid: 'uid-agent-2' }),
  );
  expect((await second.next()).revision?.generation).toBe(1n);
});

test("a pod's newest stream wins", async () => {
  const edge = await startTestEdge();
  edge.pods.upsert(agentPod());
  const token = edge.vouch(tokenFor());
  const first = watching(edge.client, token);
  await first.next();
  const ended = first.next();
  const second = watching(edge.client, token);
  await second.next();
  await expect(ended).rejects.toMatchObject({ code: 'conflict', message: 'a newer stream of this pod took over' });
  expect(await edge.registry.getSingleMetric('glmquota_edge_streams')?.get()).toMatchObject({ values: [{ value: 1 }] });
});

test('the stream ends with its pod', async () => {
  const edge = await startTestEdge();
  edge.pods.upsert(agentPod());
  const stream = watching(edge.client, edge.vouch(tokenFor()));
  await stream.next();
  const ended = stream.next();
  edge.pods.upsert(agentPod({ perAgentConcurrency: 1 }));
  edge.pods.remove(agentPod());
  await expect(ended).rejects.toMatchObject({ code: 'forbidden', message: 'the pod has ended' });
});

test('the stream ends when the image of the sidecar is changed', async () => {
  const edge = await startTestEdge();
  edge.pods.upsert(agentPod());
  const stream = watching(edge.client, edge.vouch(tokenFor()));
  await stream.next();
  const ended = stream.next();
  edge.pods.upsert(agentPod({ image: 'registry.example.com/mine:latest' }));
  await expect(ended).rejects.toMatchObject({
    code: 'forbidden',
    message: expect.stringContaining('none of registry.example.com/glmquota'),
  });
});

test('a pod that came back under its name is another pod', async () => {
  const edge = await startTestEdge();
  edge.pods.upsert(agentPod());
  const stream = watching(edge.client, edge.vouch(tokenFor()));
  await stream.next();
  const ended = stream.next();
  edge.pods.upsert(agentPod({ uid: 'uid-of-the-next' }));
  await expect(ended).rejects.toMatchObject({ code: 'forbidden' });
  await expect(watching(edge.client, edge.vouch(tokenFor())).next()).rejects.toMatchObject({ code: 'unauthenticated' });
});

test('the stream ends with its token, and the sidecar comes back with the next one', async () => {
  const edge = await startTestEdge();
  edge.pods.upsert(agentPod());
  const short = edge.vouch(tokenFor({ lifetimeMs: 2_500 }));
  const { snapshots, replaceToken } = await follow(edge, short);
  await within(() => expect(snapshots.value?.revision.generation).toBe(1));
  await replaceToken(edge.vouch(tokenFor({ id: 'two' })));
  const counted = async () => {
    const metric = await edge.registry.getSingleMetric('glmquota_edge_streams_ended_total')?.get();
    return metric?.values.find(({ labels }) => labels['code'] === 'unauthenticated')?.value;
  };
  await vi.waitFor(async () => expect(await counted()).toBe(1), 20_000);
  edge.revisions.trees.set(edge.world.treeKey, edge.world.stateOf(2));
  await within(() => expect(snapshots.value?.revision.generation).toBe(2));
});

test('a pod that is not yet known, or has no address yet, is served when it is', async () => {
  const edge = await startTestEdge();
  const { snapshots } = await follow(edge, edge.vouch(tokenFor()));
  edge.pods.upsert(agentPod({ address: '' }));
  const refused = watching(edge.client, tokenFor());
  await expect(refused.next()).rejects.toMatchObject({
    code: 'unavailable',
    message: "the token's pod has no address yet",
  });
  edge.pods.upsert(agentPod());
  await within(() => expect(snapshots.value?.binding.quota).toBe('glm/team-a'));
});

test('a tree that stays different from the one in Redis is reported, once in a while', async () => {
  const clock = { ...systemClock, monotonicMs: () => systemClock.monotonicMs() * 20 };
  const edge = await startTestEdge({ clock });
  edge.pods.upsert(agentPod());
  edge.revisions.trees.set(edge.world.treeKey, { ...edge.world.stateOf(5), configHash: 'another' });
  const stream = watching(edge.client, edge.vouch(tokenFor()));
  const published = stream.next();
  await within(() => expect(edge.world.forgotten).toContain(edge.world.treeKey));
  edge.revisions.trees.set(edge.world.treeKey, edge.world.stateOf(6));
  expect((await published).revision?.generation).toBe(6n);
});

test('a renewed certificate is shown to new connections while streams go on', async () => {
  const edge = await startTestEdge();
  edge.pods.upsert(agentPod());
  const stream = watching(edge.client, edge.vouch(tokenFor()));
  await stream.next();
  edge.edge.setCertificate(await edge.authority.issue([SERVER_NAME], '0c'));
  const serial = await new Promise<string>((resolve, reject) => {
    const options = { host: '127.0.0.1', port: edge.edge.port, ca: edge.authority.caPem, servername: SERVER_NAME };
    const socket = connect({ ...options, ALPNProtocols: ['h2'] }, () => {
      resolve(socket.getPeerCertificate().serialNumber);
      socket.destroy();
    }).on('error', reject);
  });
  expect(serial).toBe('0C');
  edge.revisions.trees.set(edge.world.treeKey, edge.world.stateOf(2));
  expect((await stream.next()).revision?.generation).toBe(2n);
});

test('a stopping edge ends its streams as unavailable, so that sidecars keep what they have', async () => {
  const edge = await startTestEdge();
  edge.pods.upsert(agentPod());
  const stream = watching(edge.client, edge.vouch(tokenFor()));
  await stream.next();
  const ended = stream.next();
  ended.catch(() => undefined);
  await edge.edge[Symbol.asyncDispose]();
  await expect(ended).rejects.toMatchObject({ code: 'unavailable' });
});
