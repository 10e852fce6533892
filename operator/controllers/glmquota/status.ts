/** The status of a quota: what its node in the account's tree says. */
import type { GlmQuota } from '../../api/v1alpha1/glmquota.ts';
import { DONE, type Outcome } from '../../runtime/controller.ts';
import type { CompiledQuota } from '../../trees/terms.ts';
import type { TreeConfig } from '../../../sidecar/engine/tree-terms.ts';
import type { NodeReports } from '../node-status/reports.ts';
import { isCurrent, type SyncBoard, type SyncState } from '../node-status/sync-state.ts';
import type { Observed } from '../world/kinds.ts';
import type { TreeHashes } from '../world/tree-hashes.ts';
import type { World } from '../world/world.ts';

/** Until every tree in force is known, an object in no tree may yet turn out to be in one. */
const SETTLING_MS = 200;

export interface QuotaStatusOptions {
  readonly world: World;
  readonly board: SyncBoard;
  readonly hashes: TreeHashes;
  readonly quotas: { get(key: string): Observed<GlmQuota> | undefined };
  readonly reports: NodeReports;
}

export class QuotaStatus {
  readonly #options: QuotaStatusOptions;
  /** By account: quotas that were looked at before Redis held their tree. */
  readonly #waiting = new Map<string, Set<string>>();

  constructor(options: QuotaStatusOptions) {
    this.#options = options;
  }

  /** `id`: the quota as `namespace/name`. Does nothing while its tree is on its way: the board tells when it is there. */
  async reconcile(id: string, signal: AbortSignal): Promise<Outcome> {
    const { world, quotas, reports } = this.#options;
    const target = quotas.get(id);
    const compiled = world.current?.quotas.get(id);
    if (target === undefined || compiled === undefined) return DONE;
    if (compiled.account === null && !world.isAllKnown) return { kind: 'again', afterMs: SETTLING_MS };
    const sync = this.#syncOf(compiled);
    if (sync === null) return this.#wait(compiled.account ?? '', id);
    const { verdict, overcommitted, effective, path } = compiled;
    const generation = world.generationOf('GLMQuota', id);
    const tree = this.#treeOf(compiled);
    const facts = { generation, verdict, overcommitted, effective, sync, path, tree, plannedMove: null };
    return reports.report(target, facts, signal);
  }

  /** The quotas that wait for a change of this account's tree, once. */
  takeWaiting(account: string): Iterable<string> {
    const waiting = this.#waiting.get(account) ?? [];
    this.#waiting.delete(account);
    return waiting;
  }

  #wait(account: string, id: string): Outcome {
    const waiting = this.#waiting.get(account) ?? new Set();
    this.#waiting.set(account, waiting.add(id));
    return DONE;
  }

  /** Null while Redis is not known to hold the tree as it is compiled now. */
  #syncOf({ account }: Pick<CompiledQuota, 'account'>): SyncState | null {
    const { board, hashes } = this.#options;
    if (account === null) return { kind: 'none' };
    const sync = board.get(account);
    const tree = this.#treeOf({ account });
    return sync && isCurrent(sync, tree === null ? null : hashes.of(tree)) ? sync : null;
  }

  #treeOf({ account }: Pick<CompiledQuota, 'account'>): TreeConfig | null {
    return account === null ? null : (this.#options.world.current?.accounts.get(account)?.tree ?? null);
  }
}
