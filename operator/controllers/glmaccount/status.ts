/** The status of an account. */
import { readCredentialFacts } from '../../trees/credentials.ts';
import type { CompiledAccount, NodeVerdict } from '../../trees/terms.ts';
import { ACCOUNT_NODE } from '../../trees/names.ts';
import type { KubeClient } from '../../runtime/client.ts';
import { DONE, type Outcome } from '../../runtime/controller.ts';
import type { GlmAccount } from '../../api/v1alpha1/glmaccount.ts';
import type { NodeReports } from '../node-status/reports.ts';
import { isCurrent, type SyncBoard, type SyncState } from '../node-status/sync-state.ts';
import { type Observed, SECRETS } from '../world/kinds.ts';
import type { PlannedMoves } from './planned-moves.ts';
import type { TreeHashes } from '../world/tree-hashes.ts';
import type { World } from '../world/world.ts';

export interface AccountStatusOptions {
  readonly world: World;
  readonly board: SyncBoard;
  readonly hashes: TreeHashes;
  readonly accounts: { get(key: string): Observed<GlmAccount> | undefined };
  readonly reports: NodeReports;
  readonly moves: PlannedMoves;
  readonly client: Pick<KubeClient, 'get'>;
}

interface Gathered {
  readonly target: Observed<GlmAccount>;
  readonly compiled: CompiledAccount;
  readonly sync: SyncState;
}

export class AccountStatus {
  readonly #options: AccountStatusOptions;

  constructor(options: AccountStatusOptions) {
    this.#options = options;
  }

  /** `id`: the account as `namespace/name`. Does nothing while the tree is on its way: the board tells when it is there. */
  async reconcile(id: string, signal: AbortSignal): Promise<Outcome> {
    const { reports, world, moves } = this.#options;
    const gathered = this.#gather(id);
    if (gathered === null) return DONE;
    const { target, compiled, sync } = gathered;
    const { overcommitted, effective, tree, treeKey } = compiled;
    const verdict = await this.#explain(target, compiled.verdict, signal);
    const generation = world.generationOf('GLMAccount', id);
    const path = tree === null ? [] : [ACCOUNT_NODE];
    const moving = sync.kind === 'applied' ? moves.apply(target, treeKey, signal) : moves.last(target);
    const [moved] = await Promise.allSettled([moving]);
    // A declaration that fails is tried again, and keeps nobody from learning the rest.
    const plannedMove = moved.status === 'fulfilled' ? moved.value : moves.last(target);
    const facts = { generation, verdict, overcommitted, effective, sync, path, tree, plannedMove };
    const outcome = await reports.report(target, facts, signal);
    if (moved.status === 'rejected') throw moved.reason;
    return outcome;
  }

  /** Only Secrets of the credential type are cached; one of another type under that name deserves another word. */
  async #explain(target: Observed<GlmAccount>, verdict: NodeVerdict, signal: AbortSignal): Promise<NodeVerdict> {
    if (verdict.reason !== 'CredentialMissing' || !target.parsed.ok) return verdict;
    const { name } = target.parsed.value.spec.credentialSecretRef;
    const secret = await this.#options.client.get(SECRETS, { namespace: target.namespace, name }, { signal });
    const reading = secret === null ? null : readCredentialFacts(secret);
    if (reading === null || reading.ok) return verdict;
    const message = `Secret ${target.namespace}/${name} ${reading.message}`;
    return { ...verdict, reason: 'CredentialInvalid', message };
  }

  #gather(id: string): Gathered | null {
    const { world, board, hashes, accounts } = this.#options;
    const target = accounts.get(id);
    const compiled = world.current?.accounts.get(id);
    const sync = board.get(id);
    if (target === undefined || compiled === undefined || sync === undefined) return null;
    return isCurrent(sync, compiled.tree === null ? null : hashes.of(compiled.tree))
      ? { target, compiled, sync }
      : null;
  }
}
