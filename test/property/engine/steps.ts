/** What may happen to a tree, as data that fast-check can make and shrink. */
import fc from 'fast-check';
import { OUTCOMES, type Amounts, type LimitConfig, type NodeConfig, type Outcome } from '#sidecar/engine/terms.ts';
import { HELD, limit, node, ONE, START_MS } from '#test/support/engine.ts';

export type Step =
  | { readonly do: 'advance'; readonly ms: number }
  | {
      readonly do: 'acquire';
      readonly owner: number;
      readonly leaf: number;
      readonly model: number;
      readonly tokens: number;
      readonly behind: number;
      readonly epoch: 'known' | 'none' | 'wrong';
    }
  | { readonly do: 'again'; readonly call: number; readonly owner: number | null }
  | { readonly do: 'claim'; readonly call: number; readonly off: number }
  | { readonly do: 'settle'; readonly all: readonly Settling[] }
  | { readonly do: 'cancel'; readonly call: number }
  | { readonly do: 'beat'; readonly owner: number; readonly skip: number }
  | {
      readonly do: 'register';
      readonly owner: number;
      readonly skip: number;
      readonly sent: boolean;
      readonly disclaim: boolean;
    }
  | { readonly do: 'configure'; readonly shape: Shape; readonly leader: number }
  | { readonly do: 'restart' }
  | { readonly do: 'wipe' };

export interface Settling {
  readonly call: number;
  readonly outcome: Outcome;
  readonly tokens: number;
  readonly sentAfterMs: number | null;
  readonly firstByteAfterMs: number | null;
  readonly off: number;
}

export interface Shape {
  readonly concurrency: number | null;
  readonly intervalUs: number | null;
  readonly burst: number;
  readonly windows: readonly { readonly kind: number; readonly amount: number }[];
  readonly childAmount: number;
  readonly shared: boolean;
  readonly childUnder: 'account' | 'team' | 'nowhere';
  readonly stopped: boolean;
  readonly renamed: boolean;
  /** How many calendar boundaries there are, 30 s apart: few are behind us soon. */
  readonly boundaries: number;
}

export const LEAVES = ['quota:a/team', 'quota:a/child', 'quota:a/gone'];
export const OWNERS = ['pod-1', 'pod-2', 'pod-3'];
export const MODELS = ['glm-5.3', 'glm-unknown'];

const HUGE = [10 ** 14 - 1, 10 ** 14, 10 ** 14 + 1, 2 ** 52, Number.MAX_SAFE_INTEGER];
const amounts = fc.constantFrom(0, 1, 2, 3, 5, 10, ...HUGE);
const calls = fc.nat({ max: 30 });
const owners = fc.nat({ max: OWNERS.length - 1 });
const offsets = fc.option(fc.constantFrom(0, 1, 40, 900, 5000, 20_000), { freq: 5 });

export const shapes: fc.Arbitrary<Shape> = fc.record({
  concurrency: fc.constantFrom(null, 0, 1, 2, 4),
  intervalUs: fc.constantFrom(null, 1, 1500, 400_000, 2_500_000),
  burst: fc.constantFrom(1, 2, 5),
  windows: fc.array(fc.record({ kind: fc.nat({ max: 5 }), amount: amounts }), { maxLength: 3 }),
  childAmount: amounts,
  shared: fc.boolean(),
  childUnder: fc.constantFrom('account', 'team', 'nowhere'),
  stopped: fc.constantFrom(false, false, false, false, true),
  renamed: fc.boolean(),
  boundaries: fc.constantFrom(1, 3, 8, 40),
});

const settling: fc.Arbitrary<Settling> = fc.record({
  call: calls,
  outcome: fc.oneof(fc.constant<Outcome>('completed'), fc.constantFrom(...OUTCOMES)),
  tokens: amounts,
  sentAfterMs: offsets,
  firstByteAfterMs: offsets,
  off: fc.constantFrom(0, 0, 0, 0, 1),
});

const durations = fc.oneof(
  fc.constantFrom(
    0,
    1,
    50,
    400,
    1000,
    2500,
    4999,
    5000,
    7600,
    7500,
    11_500,
    12_000,
    15_000,
    20_000,
    29_500,
    30_500,
    60_000,
  ),
  fc.integer({ min: 0, max: 40_000 }),
  fc.constantFrom(-1, -3000, -12_000, 700_000),
);

export const steps: fc.Arbitrary<readonly Step[]> = fc.array(
  fc.oneof(
    { weight: 6, arbitrary: durations.map((ms): Step => ({ do: 'advance', ms })) },
    {
      weight: 10,
      arbitrary: fc.record<Step & { do: 'acquire' }>({
        do: fc.constant('acquire'),
        owner: owners,
        leaf: fc.nat({ max: 2 }),
        model: fc.nat({ max: 1 }),
        tokens: amounts,
        behind: fc.constantFrom(0, 0, 0, 0, 0, 0, 1),
        epoch: fc.constantFrom('known', 'known', 'known', 'none', 'wrong'),
      }),
    },
    {
      weight: 1,
      arbitrary: fc.record<Step & { do: 'again' }>({
        do: fc.constant('again'),
        call: calls,
        owner: fc.option(owners),
      }),
    },
    {
      weight: 1,
      arbitrary: fc.record<Step & { do: 'claim' }>({
        do: fc.constant('claim'),
        call: calls,
        off: fc.constantFrom(0, 0, 1),
      }),
    },
    {
      weight: 7,
      arbitrary: fc.array(settling, { minLength: 1, maxLength: 3 }).map((all): Step => ({ do: 'settle', all })),
    },
    { weight: 1, arbitrary: calls.map((call): Step => ({ do: 'cancel', call })) },
    {
      weight: 3,
      arbitrary: fc.record<Step & { do: 'beat' }>({
        do: fc.constant('beat'),
        owner: owners,
        skip: fc.nat({ max: 3 }),
      }),
    },
    {
      weight: 1,
      arbitrary: fc.record<Step & { do: 'register' }>({
        do: fc.constant('register'),
        owner: owners,
        skip: fc.nat({ max: 3 }),
        sent: fc.boolean(),
        disclaim: fc.boolean(),
      }),
    },
    {
      weight: 2,
      arbitrary: fc.record<Step & { do: 'configure' }>({
        do: fc.constant('configure'),
        shape: shapes,
        leader: fc.constantFrom(0, 0, 0, 1, -1),
      }),
    },
    { weight: 1, arbitrary: fc.constantFrom<Step>({ do: 'restart' }, { do: 'wipe' }) },
  ),
  { minLength: 1, maxLength: 60, size: 'max' },
);

const BOUNDARIES = Array.from({ length: 40 }, (_, index) => START_MS - 7000 + index * 30_000);

const KINDS: readonly Omit<LimitConfig, 'amount' | 'windowOwner'>[] = [
  { name: 'five-hour', resource: 'Requests', window: { type: 'Anchored', durationMs: 30_000 } },
  { name: 'weekly', resource: 'Tokens', window: { type: 'Anchored', durationMs: 60_000 } },
  { name: 'five-hour', resource: 'Requests', window: { type: 'Anchored', durationMs: 12_000 } },
  { name: 'minute', resource: 'Requests', window: { type: 'Sliding', durationMs: 20_000 } },
  { name: 'burn', resource: 'Cost', window: { type: 'Sliding', durationMs: 45_000 } },
  {
    name: 'daily',
    resource: 'Tokens',
    window: { type: 'Calendar', period: 'Day', timeZone: 'Asia/Shanghai', boundariesMs: BOUNDARIES },
  },
];

function withBoundaries({ window, ...rest }: LimitConfig, count: number): LimitConfig {
  if (window.type !== 'Calendar') return { ...rest, window };
  return { ...rest, window: { ...window, boundariesMs: window.boundariesMs.slice(0, count) } };
}

export function nodesOf(shape: Shape): readonly NodeConfig[] {
  const { concurrency, intervalUs, burst, stopped } = shape;
  const rate = intervalUs === null ? null : { intervalUs, burst };
  const own = new Map<string, LimitConfig>();
  for (const { kind, amount } of shape.windows) {
    const found = KINDS[kind]!;
    own.set(found.name, limit(found.name, amount, found));
  }
  if (shape.renamed && own.has('daily')) own.set('daily', { ...own.get('daily')!, name: 'per-day' });
  const limits = [...own.values()].map((each) => withBoundaries(each, shape.boundaries));
  const children = limits.map((each) => ({
    ...each,
    amount: shape.childAmount,
    ...(shape.shared ? { windowOwner: 'account' } : {}),
  }));
  const child = node('quota:a/child', shape.childUnder === 'team' ? 'quota:a/team' : 'account', { limits: children });
  return [
    node('account', null, { concurrency, rate, limits, stops: stopped ? HELD : [] }),
    node('model:glm-5.3', 'account', { concurrency: 3 }),
    node('model:other', 'account', { concurrency: 2 }),
    node('quota:a/team', 'account', { rate: rate && { ...rate, burst: burst + 1 }, limits: children.slice(0, 1) }),
    ...(shape.childUnder === 'nowhere' ? [] : [child]),
  ];
}

export function amountsOf(tokens: number): Amounts {
  const half = Math.floor(tokens / 2);
  return { ...ONE, inputTokens: half, outputTokens: tokens - half, nanoCost: tokens };
}
