/** Trees that histories are played on, as data that fast-check can make and shrink. */
import fc from 'fast-check';
import {
  type Amounts,
  type LimitConfig,
  type NodeConfig,
  type PriorityClass,
  type ScopeConfig,
  type StopConfig,
} from '#sidecar/engine/tree-terms.ts';
import { limit, node, ONE, START_MS } from '#test/support/engine.ts';

export interface Shape {
  readonly concurrency: number | null;
  readonly teamConcurrency: number | null;
  readonly adaptive: 'no' | 'model' | 'both';
  readonly breaker: boolean;
  readonly intervalUs: number | null;
  readonly burst: number;
  readonly modelRate: boolean;
  readonly windows: readonly { readonly kind: number; readonly amount: number }[];
  readonly childAmount: number;
  readonly shared: boolean;
  readonly guaranteed: number | null;
  readonly childUnder: 'account' | 'team' | 'nowhere';
  readonly stops: readonly Stop[];
  readonly weights: readonly [number, number];
  readonly maxClass: PriorityClass;
  readonly observe: 'nobody' | 'team' | 'account';
  readonly maxQueue: readonly [number | null, number | null];
  readonly perCall: number | null;
  readonly thresholds: boolean;
  readonly scopes: 'none' | 'one' | 'nested';
  /** Whether the model has a node of its own. */
  readonly routed: boolean;
  readonly renamed: boolean;
  /** How many calendar boundaries there are, 30 s apart: few are behind us soon. */
  readonly boundaries: number;
}

interface Stop {
  readonly at: 'account' | 'team' | 'model';
  readonly fromMs: number;
  readonly forMs: number | null;
  readonly except: readonly PriorityClass[];
}

const HUGE = [10 ** 14 - 1, 10 ** 14, 10 ** 14 + 1, 2 ** 52, Number.MAX_SAFE_INTEGER];
export const amounts = fc.constantFrom(0, 1, 1, 2, 3, 5, 10, ...HUGE);
const rarely = <T>(usual: T, ...others: readonly T[]): fc.Arbitrary<T> =>
  fc.constantFrom(usual, usual, usual, usual, usual, ...others);

const stops: fc.Arbitrary<Stop> = fc.record({
  at: fc.constantFrom('account', 'team', 'team', 'model'),
  fromMs: fc.constantFrom(0, 0, 0, 9000),
  forMs: fc.constantFrom(null, 3000, 20_000, 70_000),
  except: fc.constantFrom([], [], ['System'], ['System', 'High']),
});

/** What may be configured; `small`: amounts and limits that a few calls reach. */
export const shapes: fc.Arbitrary<Shape> = fc.record({
  concurrency: fc.constantFrom(null, 0, 1, 1, 2, 2, 4),
  teamConcurrency: fc.constantFrom(null, null, 0, 1, 2),
  adaptive: fc.constantFrom('no', 'no', 'model', 'both'),
  breaker: fc.boolean(),
  intervalUs: fc.constantFrom(null, null, null, 1, 1500, 400_000, 2_500_000),
  burst: fc.constantFrom(1, 2, 5),
  modelRate: fc.boolean(),
  windows: fc.array(fc.record({ kind: fc.nat({ max: 7 }), amount: amounts }), { maxLength: 3 }),
  childAmount: amounts,
  shared: fc.boolean(),
  guaranteed: fc.constantFrom(null, null, 1, 3, 10 ** 14 + 1),
  childUnder: fc.constantFrom('account', 'team', 'team', 'nowhere'),
  stops: fc.oneof(
    { weight: 4, arbitrary: fc.constant([]) },
    { weight: 1, arbitrary: fc.array(stops, { maxLength: 3 }) },
  ),
  weights: fc.tuple(fc.constantFrom(1, 1, 3, 1000), fc.constantFrom(1, 2, 7)),
  maxClass: rarely<PriorityClass>('System', 'Normal'),
  observe: rarely<Shape['observe']>('nobody', 'team', 'account'),
  maxQueue: fc.tuple(fc.constantFrom(null, null, null, 4), fc.constantFrom(null, null, 0, 2)),
  perCall: rarely<number | null>(null, 3),
  thresholds: fc.boolean(),
  scopes: fc.constantFrom('none', 'none', 'one', 'nested'),
  routed: rarely(true, false),
  renamed: fc.boolean(),
  boundaries: fc.constantFrom(1, 3, 8, 40),
});

/** Trees with little room, in which calls wait for many different things. */
export const crowdedShapes: fc.Arbitrary<Shape> = fc
  .record({
    shape: shapes,
    windows: fc.array(fc.record({ kind: fc.nat({ max: 7 }), amount: fc.integer({ min: 2, max: 12 }) }), {
      maxLength: 2,
    }),
    childAmount: fc.integer({ min: 1, max: 8 }),
    guaranteed: fc.constantFrom(null, null, 1, 2),
    teamConcurrency: fc.constantFrom(null, 1, 2),
    concurrency: fc.constantFrom(null, 1, 1, 2, 3),
    scopes: fc.constantFrom('none', 'none', 'one'),
  } as const)
  .map(({ shape, ...rest }): Shape => ({ ...shape, perCall: null, maxQueue: [null, null], ...rest }));

/** The same tree with nothing that keeps a call out for good. */
export function opened(shape: Shape): Shape {
  return {
    ...shape,
    concurrency: shape.concurrency && Math.max(1, shape.concurrency),
    teamConcurrency: shape.teamConcurrency && Math.max(1, shape.teamConcurrency),
    ...(shape.concurrency === 0 ? { concurrency: 1 } : {}),
    ...(shape.teamConcurrency === 0 ? { teamConcurrency: 1 } : {}),
    stops: [],
    boundaries: 40,
  };
}

const STEP_MS = 30_000;

/** Boundaries around `nowMs`, the first of them behind it. */
function boundaries(nowMs: number, count: number): readonly number[] {
  const passed = Math.floor((nowMs - START_MS + 7000) / STEP_MS) - 1;
  const first = START_MS - 7000 + Math.max(0, passed) * STEP_MS;
  return Array.from({ length: count }, (_, index) => first + index * STEP_MS);
}

const KINDS: readonly Omit<LimitConfig, 'amount' | 'windowOwner'>[] = [
  { name: 'five-hour', resource: 'Requests', window: { type: 'Anchored', durationMs: 30_000 } },
  { name: 'weekly', resource: 'Tokens', window: { type: 'Anchored', durationMs: 60_000 } },
  { name: 'five-hour', resource: 'Requests', window: { type: 'Anchored', durationMs: 12_000 } },
  { name: 'minute', resource: 'Requests', window: { type: 'Sliding', durationMs: 20_000 } },
  { name: 'burn', resource: 'Cost', window: { type: 'Sliding', durationMs: 45_000 } },
  {
    name: 'daily',
    resource: 'Tokens',
    window: { type: 'Calendar', period: 'Day', timeZone: 'Asia/Shanghai', boundariesMs: [] },
  },
  { name: 'tools', resource: 'CostUnits', window: { type: 'Fixed', durationMs: 25_000 } },
  { name: 'compute', resource: 'RuntimeSeconds', window: { type: 'Fixed', durationMs: 40_000 } },
];

function limitsOf(shape: Shape, nowMs: number): readonly LimitConfig[] {
  const own = new Map<string, LimitConfig>();
  for (const { kind, amount } of shape.windows) {
    const found = KINDS[kind]!;
    own.set(found.name, limit(found.name, amount, found));
  }
  if (shape.renamed && own.has('daily')) own.set('daily', { ...own.get('daily')!, name: 'per-day' });
  return [...own.values()].map(({ window, ...rest }) => {
    if (window.type !== 'Calendar') return { ...rest, window };
    return { ...rest, window: { ...window, boundariesMs: boundaries(nowMs, shape.boundaries) } };
  });
}

/** What the account's limits are below it. */
function childLimits(shape: Shape, limits: readonly LimitConfig[]): readonly LimitConfig[] {
  return limits.map((each) => {
    const shared = shape.shared && each.window.type === 'Anchored';
    const promised =
      shape.guaranteed !== null && (shared || each.window.type === 'Fixed' || each.window.type === 'Calendar');
    return {
      ...each,
      amount: shape.childAmount,
      ...(shape.shared ? { windowOwner: 'account' } : {}),
      ...(promised ? { guaranteed: shape.guaranteed! } : {}),
    };
  });
}

const ANY: ScopeConfig = {
  models: [],
  tools: [],
  capabilities: [],
  sources: [],
  users: [],
  pools: [],
  namespaces: [],
  unset: 'Match',
};

function scopesOf({ scopes }: Shape): readonly NodeConfig[] {
  if (scopes === 'none') return [];
  const perMinute = limit('scoped', 2, { window: { type: 'Sliding', durationMs: 15_000 } });
  const tools = node('quota:s/bash', 'account', { scope: { ...ANY, tools: ['bash'] }, limits: [perMinute] });
  if (scopes === 'one') return [{ ...tools, concurrency: 1 }];
  const users = { ...ANY, users: ['ann'], models: ['glm-5.3'], unset: 'Skip' } as const;
  return [tools, node('quota:s/ann', 'quota:s/bash', { scope: users, concurrency: 1 })];
}

function modelOf(shape: Shape, held: readonly StopConfig[]): NodeConfig {
  return node('model:glm-5.3', 'account', {
    concurrency: 3,
    adaptive: shape.adaptive === 'no' ? null : { min: 1, start: 2 },
    breaker: shape.breaker ? { failureRatePercent: 50, minimumCalls: 2, openForMs: 9000 } : null,
    rate: shape.modelRate ? { intervalUs: 300_000, burst: 3 } : null,
    stops: held,
  });
}

export function nodesOf(shape: Shape, nowMs: number): readonly NodeConfig[] {
  const { concurrency, intervalUs, burst, teamConcurrency } = shape;
  const rate = intervalUs === null ? null : { intervalUs, burst };
  const limits = limitsOf(shape, nowMs);
  const children = childLimits(shape, limits);
  const thresholds = shape.thresholds ? [40, 80] : [];
  const stopsAt = (at: Stop['at']): readonly StopConfig[] =>
    shape.stops
      .filter((stop) => stop.at === at)
      .map(({ fromMs, forMs, except }, index) => ({
        name: `stop-${index}`,
        fromMs: nowMs + fromMs,
        untilMs: forMs === null ? null : nowMs + fromMs + forMs,
        except,
      }));
  const child = node('quota:a/child', shape.childUnder === 'team' ? 'quota:a/team' : 'account', {
    limits: children,
    weight: shape.weights[1],
    perCall: shape.perCall === null ? [] : [{ resource: 'Tokens', max: shape.perCall }],
    thresholds,
  });
  return [
    node('account', null, {
      concurrency,
      adaptive: shape.adaptive === 'both' && concurrency ? { min: 1, start: 1 } : null,
      rate,
      limits,
      stops: stopsAt('account'),
      maxQueue: shape.maxQueue[0],
      thresholds,
      observe: shape.observe === 'account',
    }),
    ...(shape.routed ? [modelOf(shape, stopsAt('model'))] : []),
    node('model:other', 'account', { concurrency: 2 }),
    node('quota:a/team', 'account', {
      concurrency: teamConcurrency,
      rate: rate && { ...rate, burst: burst + 1 },
      limits: children.slice(0, 1),
      stops: stopsAt('team'),
      weight: shape.weights[0],
      maxClass: shape.maxClass,
      maxQueue: shape.maxQueue[1],
      observe: shape.observe === 'team',
    }),
    ...(shape.childUnder === 'nowhere' ? [] : [child]),
    ...scopesOf(shape),
  ];
}

export function amountsOf(tokens: number): Amounts {
  const half = Math.floor(tokens / 2);
  const costUnits = tokens % 4;
  return {
    ...ONE,
    inputTokens: half,
    outputTokens: tokens - half,
    nanoCost: tokens,
    costUnits,
    runtimeSeconds: tokens,
  };
}
