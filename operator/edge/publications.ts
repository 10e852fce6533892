/** What a bound pod is sent now, if anything. */
import { toBinary } from '@bufbuild/protobuf';
import type { Snapshot } from '../../proto/gen/glmquota/v1/control_pb.ts';
import { SnapshotSchema } from '../../proto/gen/glmquota/v1/control_pb.ts';
import type { Cell } from '../../sidecar/base/cell.ts';
import { encodeSnapshot, type SnapshotDemands } from '../../sidecar/control/encode.ts';
import type { SidecarSnapshot } from '../../sidecar/control/terms.ts';
import type { TreeKey } from '../../sidecar/engine/tree-terms.ts';
import { type BindingQuestion, type BindingRefusal, decideBinding } from '../trees/bindings.ts';
import { objectId } from '../trees/names.ts';
import { composeSnapshot } from '../trees/snapshot.ts';
import type { CompiledAccount, CompiledQuota, CompiledWorld, NamespaceLabels } from '../trees/terms.ts';
import type { CacheView, RedisAccess, TreeRevisions, TreeState, WorldView } from './terms.ts';
import type { TreeWatch } from './tree-watch.ts';

export interface PublicationsOptions {
  readonly world: WorldView;
  readonly caches: CacheView;
  readonly revisions: Pick<TreeRevisions, 'hashOf'>;
  readonly trees: Pick<TreeWatch, 'state' | 'compare'>;
  /** How the sidecars of a tree reach Redis; null until its Secret is there. */
  readonly redis: Cell<RedisAccess | null>;
  readonly demands: SnapshotDemands;
}

export type Publication =
  /** The same object as long as a sidecar would see the same. */
  | { readonly kind: 'ready'; readonly treeKey: TreeKey; readonly snapshot: Snapshot }
  /** Nothing new to say for now: what was sent before stays in force. */
  | { readonly kind: 'pending'; readonly treeKey: TreeKey | null; readonly why: string }
  /** What was sent before must not be used any more. */
  | { readonly kind: 'refused'; readonly message: string };

export interface PublicationQuestion extends BindingQuestion {
  readonly perAgentConcurrency: number | null;
  /** As the pod's label names it; null: none. */
  readonly pool: string | null;
}

interface Cached {
  readonly inputs: readonly unknown[];
  readonly snapshot: Snapshot;
  readonly bytes: Uint8Array;
}

const MAX_CACHED = 10_000;

export class Publications {
  readonly #options: PublicationsOptions;
  readonly #cached = new Map<string, Cached>();
  #labelled: { readonly world: CompiledWorld; readonly namespaces: ReadonlyMap<string, NamespaceLabels> } | null = null;

  constructor(options: PublicationsOptions) {
    this.#options = options;
  }

  /** Pure but for a cache: one composition for all like pods of a quota. */
  decide(question: PublicationQuestion): Publication {
    const { world } = this.#options;
    if (world.current === null) return pending('the caches are not synced yet');
    const decision = decideBinding(world.current, this.#namespacesOf(world.current), question);
    if (decision.kind === 'refused') {
      if (this.#mayPass(decision.reason)) return pending(decision.message);
      return { kind: 'refused', message: `${decision.reason}: ${decision.message}` };
    }
    return this.#publish(world.current, decision, question);
  }

  /** Whether a refusal leaves in force what was sent. Deleting something is meant to take effect; a slip in it is not. */
  #mayPass(reason: BindingRefusal): boolean {
    // A quota that names no account by mistake stays where it was, as soon as that is read from Redis.
    return reason === 'QuotaNotReady' || (reason === 'AccountNotFound' && !this.#options.world.isAllKnown);
  }

  #publish(
    world: CompiledWorld,
    { account, quota }: { readonly account: CompiledAccount; readonly quota: CompiledQuota },
    { perAgentConcurrency, namespace, pool }: PublicationQuestion,
  ): Publication {
    const { treeKey } = account;
    const state = this.#stateOf(account);
    if (state === null) return pending('Redis does not hold the tree as it is here', treeKey);
    const redis = this.#options.redis.value?.(treeKey, this.#options.caches.rotation(account)) ?? null;
    if (redis === null) return pending('the credentials of Redis are not there yet', treeKey);
    const material = this.#materialOf(account);
    if (material === null) return pending(`the account cannot be served: ${account.verdict.message}`, treeKey);
    const attributes = { namespace, ...(pool === null ? {} : { pool }) };
    const parts = { quota, account, ...material, redis, revision: state.revision, perAgentConcurrency, attributes };
    const compose = (): SidecarSnapshot => composeSnapshot(parts);
    const key = `${objectId(quota)} ${perAgentConcurrency} ${namespace}/${pool ?? ''}`;
    // The key of the vendor may change without the world: it is compared by value with the rest of the message.
    const inputs = [world, state, redis, material.credential.apiKey, material.credential.caPem];
    return { kind: 'ready', treeKey, snapshot: this.#encode(key, inputs, compose) };
  }

  /** The state of the account's tree if Redis holds it exactly as compiled here. */
  #stateOf({ tree, treeKey }: CompiledAccount): TreeState | null {
    const { trees, revisions } = this.#options;
    const state = trees.state(treeKey);
    if (tree === null) return null;
    const same = state !== null && state.configHash === revisions.hashOf(tree);
    trees.compare(treeKey, same);
    return same ? state : null;
  }

  /** Asked for once per world, which is compiled anew whenever a namespace changes: every stream needs them. */
  #namespacesOf(world: CompiledWorld): ReadonlyMap<string, NamespaceLabels> {
    if (this.#labelled?.world !== world) this.#labelled = { world, namespaces: this.#options.caches.namespaces() };
    return this.#labelled.namespaces;
  }

  #materialOf({ delivery }: CompiledAccount) {
    const { world, caches } = this.#options;
    const catalog = delivery && world.catalogs.get(delivery.catalog);
    const credential = delivery && caches.credential(delivery.secret);
    return catalog && credential ? { catalog, credential } : null;
  }

  #encode(key: string, inputs: readonly unknown[], compose: () => SidecarSnapshot): Snapshot {
    const cached = this.#cached.get(key);
    if (cached?.inputs.every((input, i) => input === inputs[i])) return cached.snapshot;
    const snapshot = encodeSnapshot(compose(), this.#options.demands);
    const bytes = toBinary(SnapshotSchema, snapshot);
    const same = cached !== undefined && Buffer.compare(cached.bytes, bytes) === 0;
    if (this.#cached.size >= MAX_CACHED) this.#cached.clear();
    this.#cached.set(key, same ? { ...cached, inputs } : { inputs, snapshot, bytes });
    return same ? cached.snapshot : snapshot;
  }
}

function pending(why: string, treeKey: TreeKey | null = null): Publication {
  return { kind: 'pending', treeKey, why };
}
