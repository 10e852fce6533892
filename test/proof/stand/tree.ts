/** The tree of the proofs: account → organisation → team, the model beside them; and what a sidecar is told of it. */
import { hashName } from '#sidecar/base/ids.ts';
import type { SidecarSnapshot } from '#sidecar/control/terms.ts';
import type { NodeConfig, Revision, TreeConfig } from '#sidecar/engine/tree-terms.ts';
import { defaultCatalog } from '#test/support/default-catalog.ts';
import { node } from '#test/support/engine.ts';
import { MODEL } from './load.ts';

const ACCOUNT = { namespace: 'glm', name: 'max', uid: 'uid-1' };
export const TREE_KEY = hashName(`${ACCOUNT.namespace}/${ACCOUNT.name}`, 26);
export const KEY = 'proof-id.proof-secret';
export const ORG = 'quota:glm/org';
export const TEAM = 'quota:glm/team';
export const MODEL_NODE = `model:${MODEL}`;

export type NodePatches = Readonly<Record<string, Partial<NodeConfig>>>;

/** Slots on the account and on the model, as far as a proof says nothing else. */
export function treeWith(concurrency: number | null, patches: NodePatches = {}): TreeConfig {
  const nodes = [
    node('account', null, { concurrency }),
    node(MODEL_NODE, 'account', { concurrency }),
    node('model:other', 'account', { concurrency }),
    node(ORG, 'account'),
    node(TEAM, ORG),
  ].map((each) => ({ ...each, ...patches[each.name] }));
  return { key: TREE_KEY, account: ACCOUNT, nodes };
}

export interface SnapshotParts {
  readonly revision: Revision;
  readonly vendor: string;
  readonly redis: SidecarSnapshot['redis'];
  readonly binding?: Partial<SidecarSnapshot['binding']>;
}

export function snapshotOf({ revision, vendor, redis, binding }: SnapshotParts): SidecarSnapshot {
  const { plans: _, ...catalog } = defaultCatalog();
  return {
    revision,
    binding: {
      treeKey: TREE_KEY,
      quota: 'glm/team',
      leaf: TEAM,
      path: [TEAM, ORG, 'account'],
      currency: 'USD',
      perAgentConcurrency: null,
      maxRuntimeMs: 3_600_000,
      waiting: { mode: 'UntilWindow', maxWaitMs: 240_000 },
      class: { default: 'Normal', max: 'High' },
      attributes: {},
      drained: false,
      durability: 'Async',
      onStoreFailure: { policy: 'Closed', localSharePercent: 50, maxDurationMs: 300_000 },
      retry: { maxAttempts: 4, baseDelayMs: 200, factorPermille: 2000, maxDelayMs: 2000 },
      ...binding,
    },
    catalog,
    upstream: { origin: vendor, billing: 'CodingPlan', apiKey: KEY, caPem: null },
    redis,
  };
}
