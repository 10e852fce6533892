/** Brings the tree into Redis as one writer among equals: every local sidecar with the same files wants the same tree. */
import type { Clock } from '../../sidecar/base/clock.ts';
import { AppError } from '../../sidecar/base/errors.ts';
import type { AdminEngine } from '../../sidecar/engine/port.ts';
import type { Revision, TreeConfig } from '../../sidecar/engine/tree-terms.ts';

const ATTEMPTS = 10;
/** A Redis that lost its memory refuses every call for at most about this long. */
const LOOK_MS = 2000;

/** Older than any leader's, so that a tree of an operator's is never overwritten by mistake. */
const LOCAL_WRITER = { leaseCreatedMs: 0, transitions: 0 };

/**
 * The revision under which `tree` is in force. Loads the library first. Fails with `conflict` when an operator rules
 * this tree, or another account has its key.
 */
export async function configureTree(
  engine: Pick<AdminEngine, 'loadLibrary' | 'configure' | 'hashOf' | 'snapshot'>,
  tree: TreeConfig,
  signal: AbortSignal,
): Promise<Revision> {
  await engine.loadLibrary(signal);
  const wanted = engine.hashOf(tree);
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const current = await engine.snapshot(tree.key, signal);
    if (current?.configHash === wanted) return current.revision;
    if (current && current.revision.leaseCreatedMs > 0)
      throw new AppError('conflict', 'an operator rules this account in that Redis; use another --redis, or none');
    const revision = { ...LOCAL_WRITER, generation: (current?.revision.generation ?? 0) + 1 };
    const reply = await engine.configure(tree, revision, {}, signal);
    if (reply.kind === 'conflict')
      throw new AppError('conflict', `GLMAccount ${reply.namespace}/${reply.name} has the same key in that Redis`);
    // Fenced: another local sidecar wrote between our look and our write; look again.
  }
  throw new AppError('conflict', 'other local sidecars keep writing another tree for this account; use the same files');
}

export interface Keeping {
  readonly engine: Pick<AdminEngine, 'loadLibrary' | 'configure' | 'snapshot' | 'tick'>;
  readonly tree: TreeConfig;
  /** What the sidecar was told. */
  readonly revision: Revision;
  readonly clock: Clock;
  readonly tell: (text: string) => void;
}

/**
 * Puts the tree back under the same revision when Redis was restarted or flushed, says so when somebody else wrote
 * another one, and ticks it while somebody waits. Runs until `signal` aborts; a Redis that is away is looked at again.
 */
export async function keepConfigured(keeping: Keeping, signal: AbortSignal): Promise<void> {
  const { engine, tree, revision, clock, tell } = keeping;
  let before: Found = 'kept';
  for (;;) {
    await clock.sleep(LOOK_MS, signal);
    const found = await look(keeping, signal);
    if (found === 'replaced' && before !== found)
      tell('another process replaced the limits in Redis; start this one again with its files');
    if (found === 'lost' && (await engine.configure(tree, revision, { lost: true }, signal)).kind === 'applied')
      tell('Redis had lost its memory: the limits are in force again, the counters start anew');
    before = found;
  }
}

type Found = 'kept' | 'replaced' | 'lost' | 'away';

async function look({ engine, tree, revision }: Keeping, signal: AbortSignal): Promise<Found> {
  const read = async (): Promise<Found> => {
    const current = await engine.snapshot(tree.key, signal);
    if (current === null) return 'lost';
    const isWaiting = current.nodes.some(({ queued }) => queued > 0);
    if (isWaiting) await engine.tick(tree.key, signal);
    return current.revision.generation === revision.generation ? 'kept' : 'replaced';
  };
  try {
    return await read();
  } catch {
    signal.throwIfAborted();
  }
  try {
    // A Redis that was restarted answers, but has no functions.
    await engine.loadLibrary(signal);
    return await read();
  } catch {
    signal.throwIfAborted();
    return 'away';
  }
}
