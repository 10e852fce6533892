/** ControlService.Watch: who asks, may they, and what they are sent from then on. */
import type { ControlService, Snapshot, WatchRequest } from '../../proto/gen/glmquota/v1/control_pb.ts';
import type { Cell } from '../../sidecar/base/cell.ts';
import type { Clock } from '../../sidecar/base/clock.ts';
import { AppError } from '../../sidecar/base/errors.ts';
import type { Log } from '../../sidecar/base/log.ts';
import type { SnapshotDemands } from '../../sidecar/control/encode.ts';
import { isOlder } from '../../sidecar/control/version.ts';
import type { TreeKey } from '../../sidecar/engine/tree-terms.ts';
import type { CallContext, Handlers } from '../../sidecar/rpc/handlers.ts';
import { objectId } from '../trees/names.ts';
import { readClaims, type TokenClaims } from './claims.ts';
import type { EdgeMetrics } from './metrics.ts';
import { assertCaller, assertReviewed, assertSidecar } from './pod-checks.ts';
import type { Publication, Publications } from './publications.ts';
import type { PodStream, PodStreams } from './streams.ts';
import type { PodSource, ReviewedPod } from './terms.ts';
import type { TokenGate } from './token-gate.ts';
import type { TreeWatch } from './tree-watch.ts';

export interface WatchServiceOptions {
  readonly pods: PodSource;
  readonly gate: TokenGate;
  readonly streams: PodStreams;
  readonly publications: Publications;
  readonly trees: TreeWatch;
  /** Grows with every change of what could be published. */
  readonly changes: Cell<number>;
  /** Only images of its repository are sent anything. */
  readonly sidecarImage: string;
  readonly verifyPeerAddress: boolean;
  readonly demands: SnapshotDemands;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: EdgeMetrics;
}

/** Timers count in 32 bits. */
const MAX_TIMER_MS = 2 ** 31 - 1;

interface Admitted {
  readonly pod: ReviewedPod;
  readonly expiresAtMs: number;
}

export function watchService(options: WatchServiceOptions): Handlers<typeof ControlService> {
  return {
    watch: async function* (request, context) {
      const { metrics, log } = options;
      try {
        const admitted = await admit(options, request, context);
        using stream = options.streams.open(admitted.pod.uid, context.signal);
        metrics.streams.set(options.streams.size);
        log.info('edge.streamOpened', { pod: objectId(admitted.pod), sidecarVersion: request.sidecarVersion });
        for await (const snapshot of publish(options, admitted, stream)) yield { snapshot };
      } catch (reason) {
        const { code, message } = AppError.from(reason);
        metrics.ended.inc({ code });
        if (code !== 'cancelled') log.info('edge.streamEnded', { code, message, peer: context.peerAddress });
        throw reason;
      } finally {
        metrics.streams.set(options.streams.size);
      }
    },
  };
}

/** Cheap checks first: only the token of a living pod of ours, sent from its address, reaches the API server. */
async function admit(options: WatchServiceOptions, request: WatchRequest, context: CallContext): Promise<Admitted> {
  const { pods, gate, clock, sidecarImage } = options;
  assertVersion(request, options.demands);
  const claims: TokenClaims = readClaims(context.bearer, clock.nowMs());
  const peer = { address: context.peerAddress, verify: options.verifyPeerAddress };
  assertSidecar(assertCaller(pods.get(claims.pod), claims, peer), claims.pod.uid, sidecarImage);
  const pod = await gate.admit(context.bearer ?? '', claims, context.signal);
  assertReviewed(pod, claims);
  assertSidecar(pods.get(pod), pod.uid, sidecarImage);
  return { pod, expiresAtMs: claims.expiresAtMs };
}

function assertVersion(request: WatchRequest, demands: SnapshotDemands): void {
  const { sidecarVersion, engineVersions } = request;
  if (!/^\d{1,6}\.\d{1,6}\.\d{1,6}(-[\w.]{1,64})?$/.test(sidecarVersion)) {
    throw new AppError('invalid', 'sidecar_version must be major.minor.patch');
  }
  if (isOlder(sidecarVersion, demands.minSidecarVersion)) {
    const message = `UpgradeRequired: sidecars must be ${demands.minSidecarVersion} or newer, this one is ${sidecarVersion}`;
    throw new AppError('unsupported', message);
  }
  if (!engineVersions.includes(demands.engineVersion)) {
    throw new AppError('unsupported', `UpgradeRequired: sidecars must be able to call engine ${demands.engineVersion}`);
  }
}

/** Yields what is published for the pod; fails when pod, token or grant end, or a newer stream of the pod opens. */
async function* publish(options: WatchServiceOptions, admitted: Admitted, stream: PodStream): AsyncGenerator<Snapshot> {
  using _life = endWithPodAndToken(options, admitted, stream);
  using tree = new TreeInUse(options.trees);
  let sent: Snapshot | null = null;
  for (;;) {
    const seen = options.changes.value;
    const publication = decide(options, admitted, tree);
    if (publication.kind === 'ready' && publication.snapshot !== sent) {
      sent = publication.snapshot;
      yield sent;
      stream.signal.throwIfAborted();
    }
    if (options.changes.value === seen) await options.changes.next(stream.signal);
  }
}

function decide(options: WatchServiceOptions, { pod }: Admitted, tree: TreeInUse): Publication {
  const facts = options.pods.get(pod);
  const sidecar = assertSidecar(facts, pod.uid, options.sidecarImage);
  const [namespace = '', name = ''] = sidecar.binding.split('/');
  const { perAgentConcurrency } = sidecar;
  const question = {
    namespace: pod.namespace,
    serviceAccount: pod.serviceAccount,
    quota: { namespace, name },
    perAgentConcurrency,
    pool: facts?.pool ?? null,
  };
  let publication = options.publications.decide(question);
  if (publication.kind === 'refused') throw new AppError('forbidden', publication.message);
  // A tree nobody used has not been read from Redis; now it is, and the change of its state is told.
  if (tree.change(publication.treeKey)) publication = options.publications.decide(question);
  if (publication.kind === 'pending') options.log.debug('edge.pending', { pod: objectId(pod), why: publication.why });
  return publication;
}

/** The tree a stream depends on, which changes when its quota moves. */
class TreeInUse implements Disposable {
  readonly #trees: TreeWatch;
  #key: TreeKey | null = null;
  #use: Disposable | null = null;

  constructor(trees: TreeWatch) {
    this.#trees = trees;
  }

  /** True when the tree became another one. */
  change(key: TreeKey | null): boolean {
    if (key === null || key === this.#key) return false;
    const before = this.#use;
    this.#use = this.#trees.use(key);
    this.#key = key;
    before?.[Symbol.dispose]();
    return true;
  }

  [Symbol.dispose](): void {
    this.#use?.[Symbol.dispose]();
  }
}

function endWithPodAndToken(
  options: WatchServiceOptions,
  { pod, expiresAtMs }: Admitted,
  stream: PodStream,
): Disposable {
  const { clock, pods, sidecarImage } = options;
  const over = new AbortController();
  const expired = (): void => stream.close(new AppError('unauthenticated', 'the token has expired'));
  clock.sleep(Math.min(expiresAtMs - clock.nowMs(), MAX_TIMER_MS), over.signal).then(expired, () => undefined);
  const watch = pods.watch(pod, () => {
    try {
      assertSidecar(pods.get(pod), pod.uid, sidecarImage);
    } catch (reason) {
      stream.close(AppError.from(reason));
    }
  });
  return {
    [Symbol.dispose]: () => {
      over.abort();
      watch[Symbol.dispose]();
    },
  };
}
