/** The quota tree of a run, and what sidecars are configured with. */
import type { SidecarSnapshot } from '#sidecar/control/terms.ts';
import type { LimitConfig, NodeConfig, NodeName, Revision, TreeConfig } from '#sidecar/engine/tree-terms.ts';
import { limit, node, treeOf } from '#test/support/engine.ts';

export const MODELS = ['glm-5.3', 'glm-4.7'] as const;
export const LEAVES = ['quota:a/team', 'quota:a/child', 'quota:b/team'] as const;
export type Leaf = (typeof LEAVES)[number];

/** What of a tree differs from run to run, and may change while it is in use. */
export interface Shape {
  /** Of the whole account. */
  readonly concurrency: number;
  readonly modelConcurrency: number | null;
  readonly teamConcurrency: number | null;
  /** Limits are learnt; these are then the most. */
  readonly adaptive: boolean;
  /** Requests in each of the vendor's windows; null: as many as like. */
  readonly windowAmount: number | null;
  /** Of `quota:a/team`, in the same window. */
  readonly teamAmount: number | null;
  /** Requests in any stretch of SLIDING_MS. */
  readonly slidingAmount: number | null;
  readonly intervalMs: number | null;
  /** Of `quota:all/group`, which stands between the account and the others; null: it is not there. */
  readonly groupConcurrency: number | null;
  /** The limits of `quota:a/team` are only watched. */
  readonly teamObserves: boolean;
  /** `quota:a/child` hangs under the account, not under the team. */
  readonly childMoved: boolean;
}

export const WINDOW_MS = 30_000;
export const SLIDING_MS = 12_000;
/** Calls at once, if none came for long. */
export const BURST = 2;
export const WINDOW = 'five-hour';
export const SLIDING = 'per-minute';
/** Counts everything, for ever. */
export const METER = 'meter';
const GROUP = 'quota:all/group';
const EPOCH_MS = 10 ** 12;

export function treeFor(shape: Shape): TreeConfig {
  const { concurrency, modelConcurrency, teamConcurrency, adaptive, intervalMs } = shape;
  const learning = adaptive ? { min: 1, start: 1 } : null;
  const rate = intervalMs === null ? null : { intervalUs: intervalMs * 1000, burst: BURST };
  const models = [...MODELS, 'other'].map((name) =>
    node(`model:${name}`, 'account', {
      concurrency: modelConcurrency ?? (adaptive ? concurrency : null),
      adaptive: learning,
    }),
  );
  const top = shape.groupConcurrency === null ? 'account' : GROUP;
  const team = { concurrency: teamConcurrency, limits: teamLimits(shape), observe: shape.teamObserves };
  return treeOf([
    node('account', null, { concurrency, rate, limits: accountLimits(shape) }),
    ...(top === GROUP ? [node(GROUP, 'account', { concurrency: shape.groupConcurrency })] : []),
    node('quota:a/team', top, team),
    node('quota:a/child', shape.childMoved ? top : 'quota:a/team'),
    node('quota:b/team', top, { weight: 2 }),
    ...models,
  ]);
}

function accountLimits({ windowAmount, slidingAmount }: Shape): readonly LimitConfig[] {
  return [
    limit(METER, Number.MAX_SAFE_INTEGER, { window: { type: 'Fixed', durationMs: EPOCH_MS } }),
    ...(windowAmount === null
      ? []
      : [limit(WINDOW, windowAmount, { window: { type: 'Anchored', durationMs: WINDOW_MS } })]),
    ...(slidingAmount === null
      ? []
      : [limit(SLIDING, slidingAmount, { window: { type: 'Sliding', durationMs: SLIDING_MS } })]),
  ];
}

function teamLimits({ windowAmount, teamAmount }: Shape): readonly LimitConfig[] {
  if (windowAmount === null || teamAmount === null) return [];
  const window = { type: 'Anchored', durationMs: WINDOW_MS } as const;
  return [limit(WINDOW, teamAmount, { window, windowOwner: 'account' })];
}

/** Where a call is counted, told without the engine: up to the account, and its model. */
export function pathIn(nodes: readonly NodeConfig[], leaf: NodeName, model: string): readonly NodeConfig[] {
  const path: NodeConfig[] = [];
  for (let name: NodeName | null = leaf; name !== null;) {
    const found = nodes.find((each) => each.name === name);
    if (found === undefined) break;
    path.push(found);
    name = found.parent;
  }
  const own = nodes.find(({ name }) => name === `model:${model}`) ?? nodes.find(({ name }) => name === 'model:other');
  return own === undefined ? path : [...path, own];
}

export type Binding = SidecarSnapshot['binding'];

export function snapshotFor(
  leaf: Leaf,
  { nodes, key }: TreeConfig,
  revision: Revision,
  rest: Partial<Binding>,
): SidecarSnapshot {
  return {
    revision,
    binding: {
      treeKey: key,
      quota: leaf.slice('quota:'.length),
      leaf,
      path: pathIn(nodes, leaf, '').flatMap(({ name }) => (name.startsWith('model:') ? [] : [name])),
      currency: 'USD',
      perAgentConcurrency: null,
      maxRuntimeMs: 600_000,
      waiting: { mode: 'UntilWindow', maxWaitMs: 30_000 },
      class: { default: 'Normal', max: 'High' },
      attributes: {},
      drained: false,
      durability: 'Async',
      onStoreFailure: { policy: 'Closed', localSharePercent: 50, maxDurationMs: 300_000 },
      retry: { maxAttempts: 4, baseDelayMs: 1000, factorPermille: 2000, maxDelayMs: 30_000 },
      ...rest,
    },
    catalog: {
      models: MODELS.map((name) => ({ name, aliases: [], suffixes: [] })),
      prices: MODELS.map((model) => ({
        model,
        currency: 'USD',
        tiers: [
          { upToInputTokens: null, inputNano: 1_400_000_000, cachedNano: 260_000_000, outputNano: 4_400_000_000 },
        ],
      })),
      credits: [],
      schedule: {
        timeZone: 'Asia/Shanghai',
        peak: [],
        peakFactorPpm: 10 ** 6,
        offPeakFactorPpm: 500_000,
        promotions: [],
      },
      errors: [],
    },
    upstream: { origin: 'http://127.0.0.1:1', billing: 'CodingPlan', apiKey: 'key', caPem: null },
    redis: { url: 'redis://127.0.0.1:1', username: null, password: null, caPem: null },
  };
}
