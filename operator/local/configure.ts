/** Brings the tree into Redis as one writer among equals: every local sidecar with the same files wants the same tree. */
import { AppError } from '../../sidecar/base/errors.ts';
import type { AdminEngine } from '../../sidecar/engine/port.ts';
import type { Revision, TreeConfig } from '../../sidecar/engine/terms.ts';

const ATTEMPTS = 10;

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
    const reply = await engine.configure(tree, revision, signal);
    if (reply.kind === 'conflict')
      throw new AppError('conflict', `GLMAccount ${reply.namespace}/${reply.name} has the same key in that Redis`);
    // Fenced: another local sidecar wrote between our look and our write; look again.
  }
  throw new AppError('conflict', 'other local sidecars keep writing another tree for this account; use the same files');
}
