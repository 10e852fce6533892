/** Snapshots from the operator: one Watch stream, opened again for as long as it takes. */
import { readFile } from 'node:fs/promises';
import { ControlService, type Snapshot } from '../../proto/gen/glmquota/v1/control_pb.ts';
import type { Clock } from '../base/clock.ts';
import { AppError, type Code } from '../base/errors.ts';
import { jitter } from '../base/ids.ts';
import type { Log } from '../base/log.ts';
import type { Revision } from '../engine/tree-terms.ts';
import { Channel } from '../rpc/channel.ts';
import { createClient } from '../rpc/client.ts';
import type { ChannelSecurity } from '../rpc/security.ts';
import { decodeSnapshot } from './decode.ts';
import type { SidecarSnapshot, SnapshotSource } from './terms.ts';
import type { SidecarVersion } from './version.ts';

export interface WatchSourceOptions {
  /** `host:port` of the operator's ControlService. */
  readonly address: string;
  readonly security: ChannelSecurity;
  /** The pod's projected token; read anew for every stream, because the kubelet replaces it. */
  readonly tokenFile: string;
  readonly version: SidecarVersion;
  readonly clock: Clock;
  readonly log: Log;
}

/** The operator's word that this pod gets nothing, as opposed to its absence. */
const REFUSALS: ReadonlySet<Code> = new Set<Code>(['forbidden', 'unsupported']);

const FIRST_BACKOFF_MS = 200;
const MAX_BACKOFF_MS = 30_000;
/** A stream that lived this long was a good one: the next back-off starts from the beginning. */
const STABLE_AFTER_MS = 10_000;

/**
 * Yields snapshots, never one with a smaller revision than the one before it of the same tree. A lost, silent or restarted operator, an expired
 * token and a malformed snapshot are logged and retried after a jittered back-off of 0.1 to 30 s; meanwhile nothing is
 * yielded, so the last snapshot stays in force. Fails with `forbidden` when the operator refuses this pod, with
 * `unsupported` when this version is too old: then the last snapshot must not be used any more.
 */
export function watchSource(options: WatchSourceOptions): SnapshotSource {
  const seen: Seen = { newest: null };
  return {
    async *watch(signal) {
      for (let attempt = 0; !signal.aborted; attempt++) {
        const startedMs = options.clock.monotonicMs();
        try {
          yield* inOrder(openStream(options, signal), seen);
        } catch (reason) {
          if (signal.aborted) return;
          const error = AppError.from(reason);
          if (REFUSALS.has(error.code)) throw error;
          options.log.warn('control.streamLost', { code: error.code, message: error.message, attempt });
        }
        if (options.clock.monotonicMs() - startedMs >= STABLE_AFTER_MS) attempt = 0;
        await options.clock.sleep(backoffMs(attempt, jitter()), signal).catch(() => undefined);
      }
    },
  };
}

/** The newest snapshot of all streams of one source. */
interface Seen {
  newest: SidecarSnapshot | null;
}

/** Leaves out what is older than what was seen: a replica of the operator may lag behind the one asked before. */
async function* inOrder(snapshots: AsyncIterable<SidecarSnapshot>, seen: Seen): AsyncGenerator<SidecarSnapshot> {
  for await (const snapshot of snapshots) {
    if (seen.newest !== null && isOlderThan(snapshot, seen.newest)) continue;
    seen.newest = snapshot;
    yield snapshot;
  }
}

/** Generations are counted tree by tree: a quota that moved to another account starts anew. */
function isOlderThan(snapshot: SidecarSnapshot, newest: SidecarSnapshot): boolean {
  if (snapshot.binding.treeKey !== newest.binding.treeKey) return false;
  return compareRevisions(snapshot.revision, newest.revision) < 0;
}

/** One stream over a connection of its own, so that a new attempt resolves and connects from the beginning. */
async function* openStream(options: WatchSourceOptions, signal: AbortSignal): AsyncGenerator<SidecarSnapshot> {
  const { address, security, clock, version } = options;
  const bearer = await readToken(options.tokenFile, signal);
  using channel = new Channel({ address, security, clock });
  const client = createClient(ControlService, channel);
  const request = { sidecarVersion: version.sidecarVersion, engineVersions: [...version.engineVersions] };
  for await (const { snapshot } of client.watch(request, { signal, bearer })) {
    yield decodeSnapshot(withSnapshot(snapshot), version);
  }
}

function withSnapshot(snapshot: Snapshot | undefined): Snapshot {
  if (snapshot === undefined) throw new AppError('invalid', 'the operator sent no snapshot');
  return snapshot;
}

async function readToken(path: string, signal: AbortSignal): Promise<string> {
  try {
    return (await readFile(path, { encoding: 'utf8', signal })).trim();
  } catch (cause) {
    throw new AppError('unavailable', `cannot read the token file ${path}`, { cause });
  }
}

/** Negative, zero or positive as `a` is older than, the same as or newer than `b`. */
export function compareRevisions(a: Revision, b: Revision): number {
  return a.leaseCreatedMs - b.leaseCreatedMs || a.transitions - b.transitions || a.generation - b.generation;
}

/** Doubles from 0.2 s to 30 s; `random` in [0, 1) takes off up to half, so that a fleet does not return at once. */
export function backoffMs(attempt: number, random: number): number {
  return Math.min(MAX_BACKOFF_MS, FIRST_BACKOFF_MS * 2 ** Math.min(attempt, 20)) * (1 - random / 2);
}
