/** Edge over TLS on loopback, with caches, Redis and reviews in the test's hands, and sidecars that watch it. */
import { writeFile, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import { podSource, projectPod } from '#operator/edge/pods.ts';
import { type Edge, type EdgeOptions, startEdge } from '#operator/edge/server.ts';
import type { PodFacts, ReviewedPod, TokenReviewer } from '#operator/edge/terms.ts';
import { Store } from '#operator/runtime/store.ts';
import { ControlService } from '#proto/glmquota/v1/control_pb.ts';
import { createCell } from '#sidecar/base/cell.ts';
import { systemClock } from '#sidecar/base/clock.ts';
import { createLog } from '#sidecar/base/log.ts';
import { createRegistry } from '#sidecar/base/metrics.ts';
import type { RedisAccess } from '#operator/edge/terms.ts';
import { watchSource } from '#sidecar/control/watch-source.ts';
import { Channel } from '#sidecar/rpc/channel.ts';
import { createClient } from '#sidecar/rpc/client.ts';
import type { RpcClient } from '#sidecar/rpc/handlers.ts';
import { DEMANDS, exampleSnapshot, VERSION } from '#test/support/control/snapshots.ts';
import { createAuthority, type TestAuthority } from '#test/support/rpc/certificates.ts';
import { IMAGE } from './pods.ts';
import { TestRevisions, TestWorld } from './world.ts';

export const SERVER_NAME = 'edge.glm.svc';
const log = createLog('silent');

/** Says what each token is worth; a token it was not told of is worth nothing. */
class TestReviewer implements TokenReviewer {
  readonly known = new Map<string, ReviewedPod>();
  reviews = 0;

  async review(token: string): Promise<ReviewedPod | null> {
    this.reviews++;
    return this.known.get(token) ?? null;
  }
}

export interface TestEdge {
  readonly edge: Edge;
  readonly world: TestWorld;
  readonly revisions: TestRevisions;
  readonly reviewer: TestReviewer;
  readonly pods: Store<PodFacts>;
  readonly authority: TestAuthority;
  readonly registry: ReturnType<typeof createRegistry>;
  readonly client: RpcClient<typeof ControlService>;
  /** Makes the token that of the pod. */
  readonly vouch: (token: string, pod?: Partial<ReviewedPod>) => string;
  /** A sidecar's own source, with this token in its file. */
  sidecar(
    token: string,
  ): Promise<{ source: ReturnType<typeof watchSource>; replaceToken(token: string): Promise<void> }>;
}

export async function startTestEdge(change: Partial<EdgeOptions> = {}): Promise<TestEdge> {
  const authority = await createAuthority('glmquota');
  const world = new TestWorld();
  const revisions = new TestRevisions();
  revisions.trees.set(world.treeKey, world.stateOf(1));
  const reviewer = new TestReviewer();
  const registry = createRegistry();
  const pods = new Store<PodFacts>({ name: 'pods', log, project: projectPod });
  const edge = await startEdge({
    address: '127.0.0.1:0',
    certificate: await authority.issue([SERVER_NAME]),
    sidecarImage: IMAGE,
    verifyPeerAddress: true,
    demands: DEMANDS,
    pods: podSource(pods),
    reviewer,
    world,
    caches: world,
    revisions,
    redis: createCell<RedisAccess | null>(() => exampleSnapshot().redis),
    ready: createCell(true),
    clock: systemClock,
    log,
    registry,
    ...change,
  });
  const address = `127.0.0.1:${edge.port}`;
  const security = { kind: 'tls', caPem: authority.caPem, serverName: SERVER_NAME } as const;
  const channel = new Channel({ address, security, clock: systemClock });
  onTestFinished(async () => {
    channel[Symbol.dispose]();
    await edge[Symbol.asyncDispose]();
  });
  return {
    edge,
    world,
    revisions,
    reviewer,
    pods,
    authority,
    registry,
    client: createClient(ControlService, channel),
    vouch: (token, pod = {}) => {
      const known = { namespace: 'team-a', name: 'agent-1', uid: 'uid-agent-1', serviceAccount: 'default', ...pod };
      reviewer.known.set(token, known);
      return token;
    },
    sidecar: async (token) => {
      const folder = await mkdtemp(join(tmpdir(), 'edge-'));
      onTestFinished(() => rm(folder, { recursive: true }));
      const tokenFile = join(folder, 'token');
      await writeFile(tokenFile, token);
      const source = watchSource({ address, security, tokenFile, version: VERSION, clock: systemClock, log });
      return { source, replaceToken: (next) => writeFile(tokenFile, next) };
    },
  };
}

export const REQUEST = { sidecarVersion: VERSION.sidecarVersion, engineVersions: [...VERSION.engineVersions] };

/** A Watch stream in the test's hands. */
export function watching(client: RpcClient<typeof ControlService>, bearer: string) {
  const stop = new AbortController();
  const stream = client.watch(REQUEST, { bearer, signal: stop.signal })[Symbol.asyncIterator]();
  onTestFinished(() => stop.abort(new Error('the test is over')));
  return {
    /** The next snapshot; fails with what ended the stream. */
    next: async () => {
      const { value, done } = await stream.next();
      if (done === true) throw new Error('the stream ended');
      return value.snapshot!;
    },
    leave: () => stop.abort(new Error('left')),
  };
}
