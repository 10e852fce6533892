/** Trees in the shape a measurement needs, and the calls it makes on them. */
import { treeKeyOf } from '#operator/trees/names.ts';
import { newId } from '#sidecar/base/ids.ts';
import type { SidecarSnapshot } from '#sidecar/control/terms.ts';
import { createAdminEngine } from '#sidecar/engine/client.ts';
import type { AcquireRequest, Settlement } from '#sidecar/engine/terms.ts';
import type { Amounts, NodeConfig, TreeKey } from '#sidecar/engine/tree-terms.ts';
import { node } from '#test/support/engine.ts';
import { MODEL, treeOf, type World } from '../world.ts';

export interface EngineTree {
  readonly key: TreeKey;
  readonly generation: number;
  /** What a sidecar bound to that leaf is configured with. */
  snapshotFor(leaf: string): SidecarSnapshot;
}

/** Nodes of the models, which every call counts on as well. */
export const MODEL_NODES: readonly NodeConfig[] = [node(`model:${MODEL}`, 'account'), node('model:other', 'account')];

const GENERATION = 1;

export async function openEngineTree(world: World, name: string, nodes: readonly NodeConfig[]): Promise<EngineTree> {
  const account = { namespace: 'bench', name, uid: `uid-${name}` };
  const key = treeKeyOf(account);
  const revision = { leaseCreatedMs: 0, transitions: 0, generation: GENERATION };
  const admin = createAdminEngine({ redis: world.redis.redis });
  const reply = await admin.configure({ key, account, nodes }, revision);
  if (reply.kind !== 'applied') throw new Error(`the tree ${name} was answered ${JSON.stringify(reply)}`);
  // Catalog, prices and address are those of a tree that was compiled from YAML.
  const compiled = treeOf(world, 'calm').snapshot;
  const waiting = { mode: 'UntilWindow', maxWaitMs: 240_000 } as const;
  return {
    key,
    generation: GENERATION,
    snapshotFor: (leaf) => ({
      ...compiled,
      revision,
      binding: { ...compiled.binding, treeKey: key, leaf, path: [leaf, 'account'], waiting },
    }),
  };
}

/** A call as the sidecar reserves it: 300 tokens of question, 1,024 of answer. */
export const RESERVE: Amounts = {
  requests: 1,
  prompts: 1,
  inputTokens: 300,
  cachedTokens: 0,
  outputTokens: 1024,
  microCredits: 4_000_000,
  nanoCost: 2_500_000,
  costUnits: 0,
  runtimeSeconds: 0,
};

export function requestOf(
  { leaf, generation }: { readonly leaf: string; readonly generation: number },
  rest: Partial<AcquireRequest> = {},
): AcquireRequest {
  return {
    id: newId(),
    owner: 'bench/1',
    leaf,
    model: MODEL,
    generation,
    epoch: null,
    reserve: RESERVE,
    maxRuntimeMs: 3_600_000,
    class: 'Normal',
    flowKey: '',
    attributes: {},
    wait: { mode: 'UntilWindow', maxWaitMs: 240_000 },
    place: null,
    ...rest,
  };
}

export function settlementOf(id: string, fence: number, rest: Partial<Settlement> = {}): Settlement {
  const offsets = { sentAfterMs: 0, firstByteAfterMs: 0, holdMs: 0, frozenUntilMs: null };
  return { id, fence, outcome: 'completed', actual: RESERVE, ...offsets, ...rest };
}
