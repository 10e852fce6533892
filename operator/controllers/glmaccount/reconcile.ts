/** Brings one account's tree into Redis and keeps watching that it stays there. */
import { AppError } from '../../../sidecar/base/errors.ts';
import type { Clock } from '../../../sidecar/base/clock.ts';
import type { Log } from '../../../sidecar/base/log.ts';
import type { AdminEngine, ConfigureOptions } from '../../../sidecar/engine/port.ts';
import type { TreeSnapshot } from '../../../sidecar/engine/terms.ts';
import type { TreeConfig, TreeKey } from '../../../sidecar/engine/tree-terms.ts';
import { DONE, type Outcome } from '../../runtime/controller.ts';
import type { Term } from '../../runtime/leader.ts';
import type { SyncBoard } from '../node-status/sync-state.ts';
import type { TreeHashes } from '../world/tree-hashes.ts';
import type { World } from '../world/world.ts';
import type { Checkpoints } from '../checkpoints/checkpoints.ts';
import { planConfigure } from './plan.ts';
import type { Upkeep } from './upkeep.ts';

/** A tree that Redis lost is back within twice this; counters in status are at most this old. */
const LOOK_MS = 3000;
const UNKNOWN_MS = 100;
const CONFLICT_MS = 30_000;
/** A restart of Redis is no news; this long without it is. */
const AWAY_GRACE_MS = 10_000;

export interface TreeSyncOptions {
  readonly world: World;
  readonly engine: Pick<AdminEngine, 'configure' | 'snapshot'>;
  readonly checkpoints: Pick<Checkpoints, 'recall' | 'note'>;
  readonly upkeep: Pick<Upkeep, 'look'>;
  /** Whether the account's tree was ever in force, as far as its status knows. */
  readonly wasInForce: (id: string) => boolean;
  readonly hashes: TreeHashes;
  readonly term: Term;
  readonly board: SyncBoard;
  readonly clock: Clock;
  readonly log: Log;
}

interface Memory {
  readonly hash: string;
  readonly generation: number;
}

export class TreeSync {
  readonly #options: TreeSyncOptions;
  readonly #last = new Map<TreeKey, Memory>();
  readonly #awaySinceMs = new Map<string, number>();

  constructor(options: TreeSyncOptions) {
    this.#options = options;
  }

  /** `id`: the account as `namespace/name`. */
  async reconcile(id: string, signal: AbortSignal): Promise<Outcome> {
    const { world, board } = this.#options;
    const account = world.current?.accounts.get(id);
    if (account === undefined) {
      board.forget(id);
      this.#awaySinceMs.delete(id);
      return DONE;
    }
    if (!world.isKnown(account.treeKey)) {
      // Without the tree in force a bad spec would lose its last good limits; Redis has to answer first.
      this.#noteAway(id, 'what is in force is not known yet');
      return { kind: 'again', afterMs: UNKNOWN_MS };
    }
    if (account.tree === null) {
      board.set(id, { kind: 'none' });
      return DONE;
    }
    return this.#sync(id, account.tree, signal);
  }

  async #sync(id: string, tree: TreeConfig, signal: AbortSignal): Promise<Outcome> {
    const { board } = this.#options;
    try {
      const snapshot = await this.#bring(id, tree, signal);
      if (snapshot === null) return { kind: 'again', afterMs: CONFLICT_MS };
      this.#awaySinceMs.delete(id);
      board.set(id, { kind: 'applied', snapshot });
      await this.#options.checkpoints.note(tree, snapshot, signal);
      await this.#options.upkeep.look(tree, snapshot.revision, signal);
      return { kind: 'again', afterMs: LOOK_MS };
    } catch (reason) {
      const error = AppError.from(reason);
      if (!signal.aborted && error.transient) this.#noteAway(id, error.message);
      throw error;
    }
  }

  /** The tree's snapshot once Redis holds it; null: its place belongs to another account. */
  async #bring(id: string, tree: TreeConfig, signal: AbortSignal): Promise<TreeSnapshot | null> {
    const { engine, term, board, clock, log, hashes } = this.#options;
    const held = await engine.snapshot(tree.key, signal);
    const hash = hashes.of(tree);
    const last = this.#last.get(tree.key) ?? null;
    const step = planConfigure({ wantedHash: hash, held, fence: term.fence, last, nowMs: clock.nowMs() });
    if (step.kind === 'none') {
      this.#last.set(tree.key, { hash, generation: held?.revision.generation ?? 0 });
      return held;
    }
    if (step.kind === 'fenced') return this.#resign(id);
    const options = held === null ? await this.#recovery(id, tree, signal) : {};
    const reply = await engine.configure(tree, step.revision, options, signal);
    switch (reply.kind) {
      case 'applied': {
        const { generation } = reply;
        this.#last.set(tree.key, { hash, generation });
        const lost = options.lost === true;
        log.info('tree.configured', { account: id, tree: tree.key, generation, nodes: tree.nodes.length, lost });
        return this.#lookAgain(tree.key, signal);
      }
      case 'fenced':
        return this.#resign(id);
      case 'conflict':
        board.set(id, { kind: 'conflict', account: `${reply.namespace}/${reply.name}` });
        return null;
    }
  }

  /** Redis has nothing of the tree. One that existed before is brought back with what is known of its counters (F3, T7). */
  async #recovery(id: string, tree: TreeConfig, signal: AbortSignal): Promise<ConfigureOptions> {
    const checkpoint = await this.#options.checkpoints.recall(tree, signal);
    if (checkpoint !== null) return { lost: true, checkpoint };
    return this.#last.has(tree.key) || this.#options.wasInForce(id) ? { lost: true } : {};
  }

  async #lookAgain(key: TreeKey, signal: AbortSignal): Promise<TreeSnapshot> {
    const snapshot = await this.#options.engine.snapshot(key, signal);
    if (snapshot !== null) return snapshot;
    throw new AppError('unavailable', 'Redis lost the tree right after it was configured');
  }

  #resign(id: string): never {
    const error = new AppError('conflict', `a newer leader configured the tree of GLMAccount ${id}`);
    this.#options.term.resign(error);
    throw error;
  }

  #noteAway(id: string, message: string): void {
    const { board, clock } = this.#options;
    const nowMs = clock.monotonicMs();
    const sinceMs = this.#awaySinceMs.get(id) ?? nowMs;
    this.#awaySinceMs.set(id, sinceMs);
    if (nowMs - sinceMs < AWAY_GRACE_MS) return;
    const before = board.get(id);
    if (before?.kind === 'away' && before.message === message) return;
    const snapshot = before?.kind === 'applied' || before?.kind === 'away' ? before.snapshot : null;
    board.set(id, { kind: 'away', message, snapshot });
  }
}
