/** What edge knows of the world, and the ports it is wired to. Every port answers from a cache unless it says it waits. */
import type { Catalog } from '../../sidecar/catalog/terms.ts';
import type { SidecarSnapshot } from '../../sidecar/control/terms.ts';
import type { Revision, TreeConfig, TreeKey } from '../../sidecar/engine/tree-terms.ts';
import type { Credential } from '../trees/credentials.ts';
import type { ObjectKey } from '../trees/names.ts';
import type { SidecarFacts } from '../trees/sidecar-facts.ts';
import type { CompiledWorld, NamespaceLabels } from '../trees/terms.ts';

/** A pod as far as edge looks at it. */
export interface PodFacts extends ObjectKey {
  readonly uid: string;
  readonly serviceAccount: string;
  /** Empty until the kubelet has reported them. */
  readonly addresses: readonly string[];
  /** All its containers have ended for good. A pod that is being deleted still works. */
  readonly ended: boolean;
  /** Null: it has no native sidecar container of our name and is never served. */
  readonly sidecar: SidecarFacts | null;
  /** Value of the label by which an AgentPool's pods name it; null: it is in none. */
  readonly pool: string | null;
}

export interface PodSource {
  get(key: ObjectKey): PodFacts | null;
  /** Calls `listener` after every change of this pod, and after its end, until disposed. */
  watch(key: ObjectKey, listener: () => void): Disposable;
}

/** Who a token belongs to, in the API server's words. */
export interface ReviewedPod extends ObjectKey {
  readonly uid: string;
  readonly serviceAccount: string;
}

export interface TokenReviewer {
  /** Asks the API server; null: no valid token for our audience. Fails with `unavailable` when it cannot be asked. */
  review(token: string, signal: AbortSignal): Promise<ReviewedPod | null>;
}

/** Everything compiled from our objects; `World` of the controllers is one. */
export interface WorldView {
  /** Null until the caches have synced. */
  readonly current: CompiledWorld | null;
  readonly catalogs: ReadonlyMap<string, Catalog>;
  /** Whether every tree is compiled with knowledge of what was in force before this process started. */
  readonly isAllKnown: boolean;
  /** Tells after every compilation. */
  subscribe(listener: () => void): Disposable;
  /** The tree differs from the one in Redis for a while: what was last in force should be read from there again. */
  forget(key: TreeKey): void;
}

/** What lies beside the world in the caches. */
export interface CacheView {
  namespaces(): ReadonlyMap<string, NamespaceLabels>;
  /** The vendor's key in this Secret; null when there is none that can be read. */
  credential(secret: ObjectKey): Credential | null;
  /** Which password the sidecars of this account have at Redis; null: there is no such account. */
  rotation(account: ObjectKey): string | null;
}

export interface TreeState {
  readonly revision: Revision;
  readonly configHash: string;
}

export interface TreeRevisions {
  /** Asks Redis; null: it holds no such tree. Fails with `unavailable` when it cannot be asked. */
  read(key: TreeKey, signal: AbortSignal): Promise<TreeState | null>;
  /** What `configHash` says once Redis holds this tree. */
  hashOf(tree: TreeConfig): string;
}

/** How the sidecars of a tree reach Redis, by `CacheView.rotation`; the same object as long as nothing has changed. */
export type RedisAccess = (tree: TreeKey, rotation: string | null) => SidecarSnapshot['redis'];
