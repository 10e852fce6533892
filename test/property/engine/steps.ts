/** What may happen to a tree, as data that fast-check can make and shrink. */
import fc from 'fast-check';
import { OUTCOMES, type Outcome, type WaitPolicy } from '#sidecar/engine/terms.ts';
import { PRIORITY_CLASSES, type PriorityClass } from '#sidecar/engine/tree-terms.ts';
import { amounts, crowdedShapes, shapes, type Shape } from './shapes.ts';

export interface Asking {
  readonly owner: number;
  readonly leaf: number;
  readonly model: number;
  readonly tokens: number;
  readonly behind: number;
  readonly epoch: 'known' | 'none' | 'wrong';
  readonly class: PriorityClass;
  readonly flow: number;
  readonly tool: number;
  readonly user: number;
  readonly mode: WaitPolicy['mode'];
  readonly maxWaitMs: number;
  readonly place: number | null;
}

export interface Settling {
  readonly call: number;
  readonly outcome: Outcome;
  readonly tokens: number;
  readonly sentAfterMs: number | null;
  readonly firstByteAfterMs: number | null;
  readonly off: number;
  readonly holdMs: number;
  readonly frozenForMs: number | null;
}

export type Step =
  | { readonly do: 'advance'; readonly ms: number }
  | ({ readonly do: 'acquire' } & Asking)
  | { readonly do: 'again'; readonly call: number; readonly owner: number | null }
  | { readonly do: 'claim'; readonly call: number; readonly off: number }
  | { readonly do: 'settle'; readonly all: readonly Settling[] }
  | { readonly do: 'swap'; readonly settling: Settling; readonly asking: Asking }
  | { readonly do: 'retry'; readonly settling: Settling }
  | { readonly do: 'cancel'; readonly call: number; readonly keepPlace: boolean }
  | { readonly do: 'beat'; readonly owner: number; readonly skip: number }
  | { readonly do: 'tick' }
  | {
      readonly do: 'register';
      readonly owner: number;
      readonly skip: number;
      readonly sent: boolean;
      readonly disclaim: boolean;
    }
  | { readonly do: 'reclaim'; readonly prefix: number; readonly except: number | null }
  | { readonly do: 'drain'; readonly process: number; readonly on: boolean }
  | { readonly do: 'freeze'; readonly node: number; readonly forMs: number | null }
  | { readonly do: 'reset'; readonly node: number; readonly limit: number }
  | { readonly do: 'configure'; readonly shape: Shape; readonly leader: number; readonly lost: boolean }
  /** To another server; declared: from, to, or both, until a while from now. */
  | { readonly do: 'move'; readonly declares: 'from' | 'to' | 'both'; readonly forMs: number; readonly afterMs: number }
  | { readonly do: 'restart' }
  | { readonly do: 'wipe' };

export const LEAVES = ['quota:a/team', 'quota:a/child', 'quota:a/gone', 'account'];
export const OWNERS = ['pod-1/a', 'pod-1/b', 'pod-2/a'];
export const PREFIXES = ['pod-1/', 'pod-2/'];
export const PROCESSES = ['pod-1', 'pod-2'];
export const MODELS = ['glm-5.3', 'glm-unknown'];
export const TOOLS = ['', 'bash', 'search'];
export const USERS = ['', 'ann', 'bob'];
export const NODES = ['account', 'quota:a/team', 'quota:a/child', 'model:glm-5.3', 'quota:a/gone'];
export const LIMITS = ['five-hour', 'weekly', 'minute', 'daily', 'tools'];

const upTo = (list: readonly unknown[]): fc.Arbitrary<number> => fc.nat({ max: list.length - 1 });
const calls = fc.oneof({ weight: 3, arbitrary: fc.nat({ max: 12 }) }, { weight: 1, arbitrary: fc.nat({ max: 60 }) });
const offsets = fc.option(fc.constantFrom(0, 1, 40, 900, 5000, 20_000), { freq: 5 });

const asking: fc.Arbitrary<Asking> = fc.record({
  owner: upTo(OWNERS),
  leaf: fc.constantFrom(0, 0, 0, 1, 1, 1, 3, 2),
  model: fc.constantFrom(0, 0, 1),
  tokens: amounts,
  behind: fc.constantFrom(0, 0, 0, 0, 0, 0, 0, 0, 0, 1),
  epoch: fc.constantFrom('known', 'known', 'known', 'known', 'known', 'none', 'none', 'none', 'none', 'wrong'),
  class: fc.constantFrom(...PRIORITY_CLASSES),
  flow: fc.nat({ max: 1 }),
  tool: fc.constantFrom(0, 0, 1, 2),
  user: fc.constantFrom(0, 0, 1, 2),
  mode: fc.constantFrom('UntilWindow', 'UntilWindow', 'UntilSlot', 'UntilSlot', 'Reject'),
  maxWaitMs: fc.constantFrom(120_000, 60_000, 15_000, 2000, 0, 10 ** 9),
  place: fc.option(fc.nat({ max: 2 }), { freq: 1 }),
});

const settling: fc.Arbitrary<Settling> = fc.record({
  call: calls,
  outcome: fc.oneof(fc.constant<Outcome>('completed'), fc.constantFrom(...OUTCOMES)),
  tokens: amounts,
  sentAfterMs: offsets,
  firstByteAfterMs: offsets,
  off: fc.constantFrom(0, 0, 0, 0, 0, 0, 1),
  holdMs: fc.constantFrom(0, 0, 0, 1, 2000),
  frozenForMs: fc.constantFrom(null, -700_000, 4000, 30_000),
});

const GAPS = [0, 1, 50, 400, 1000, 2500, 4999, 5000, 7500, 7600, 10_000, 11_500, 12_000, 15_000, 16_500, 20_000];
const durations = fc.oneof(
  { weight: 3, arbitrary: fc.constantFrom(...GAPS, 29_500, 30_500, 60_000) },
  { weight: 3, arbitrary: fc.integer({ min: 0, max: 6000 }) },
  { weight: 1, arbitrary: fc.integer({ min: 0, max: 40_000 }) },
  { weight: 1, arbitrary: fc.constantFrom(-1, -3000, -12_000, 700_000, 3_700_000) },
);

/** A choice as often as its weight says. */
const oneOf = (...all: readonly (readonly [number, fc.Arbitrary<Step>])[]): fc.Arbitrary<Step> =>
  fc.oneof(...all.map(([weight, arbitrary]) => ({ weight, arbitrary })));

const step: fc.Arbitrary<Step> = oneOf(
  [7, durations.map((ms): Step => ({ do: 'advance', ms }))],
  [16, asking.map((call): Step => ({ do: 'acquire', ...call }))],
  [1, fc.record<Step & { do: 'again' }>({ do: fc.constant('again'), call: calls, owner: fc.option(upTo(OWNERS)) })],
  [
    1,
    fc.record<Step & { do: 'claim' }>({ do: fc.constant('claim'), call: calls, off: fc.constantFrom(0, 0, 0, 0, 1) }),
  ],
  [9, fc.array(settling, { minLength: 1, maxLength: 3 }).map((all): Step => ({ do: 'settle', all }))],
  [2, fc.record<Step & { do: 'swap' }>({ do: fc.constant('swap'), settling, asking })],
  [2, settling.map((each): Step => ({ do: 'retry', settling: { ...each, outcome: 'refusedConcurrency' } }))],
  [1, settling.map((each): Step => ({ do: 'retry', settling: each }))],
  [2, fc.record<Step & { do: 'cancel' }>({ do: fc.constant('cancel'), call: calls, keepPlace: fc.boolean() })],
  [
    5,
    fc.record<Step & { do: 'beat' }>({
      do: fc.constant('beat'),
      owner: upTo(OWNERS),
      skip: fc.constantFrom(0, 0, 0, 1, 2, 3),
    }),
  ],
  [3, fc.constant<Step>({ do: 'tick' })],
  [
    1,
    fc.record<Step & { do: 'register' }>({
      do: fc.constant('register'),
      owner: upTo(OWNERS),
      skip: fc.nat({ max: 3 }),
      sent: fc.boolean(),
      disclaim: fc.boolean(),
    }),
  ],
  [
    1,
    fc.record<Step & { do: 'reclaim' }>({
      do: fc.constant('reclaim'),
      prefix: upTo(PREFIXES),
      except: fc.option(upTo(OWNERS)),
    }),
  ],
  [1, fc.record<Step & { do: 'drain' }>({ do: fc.constant('drain'), process: upTo(PROCESSES), on: fc.boolean() })],
  [
    1,
    fc.record<Step & { do: 'freeze' }>({
      do: fc.constant('freeze'),
      node: upTo(NODES),
      forMs: fc.constantFrom(null, null, 1000, 9000, -5000),
    }),
  ],
  [1, fc.record<Step & { do: 'reset' }>({ do: fc.constant('reset'), node: upTo(NODES), limit: upTo(LIMITS) })],
  [
    3,
    fc.record<Step & { do: 'configure' }>({
      do: fc.constant('configure'),
      shape: shapes,
      leader: fc.constantFrom(0, 0, 0, 0, 1, -1),
      lost: fc.constantFrom(false, false, true),
    }),
  ],
  [
    1,
    fc.record<Step & { do: 'move' }>({
      do: fc.constant('move'),
      declares: fc.constantFrom('both', 'both', 'both', 'from', 'to'),
      forMs: fc.constantFrom(5000, 60_000),
      afterMs: fc.constantFrom(0, 0, 4999, 5000),
    }),
  ],
  [1, fc.constantFrom<Step>({ do: 'restart' }, { do: 'restart' }, { do: 'wipe' })],
);

export const steps: fc.Arbitrary<readonly Step[]> = fc.array(step, { minLength: 1, maxLength: 70, size: 'max' });

/** Small calls that all want the same few places, and little else: here the waiting room is always crowded. */
const crowding: fc.Arbitrary<Asking> = fc
  .record({
    asking,
    leaf: fc.constantFrom(0, 0, 0, 1, 1, 3),
    tokens: fc.constantFrom(0, 1, 1, 2, 3, 5, 6),
    mode: fc.constantFrom('UntilWindow', 'UntilWindow', 'UntilWindow', 'UntilSlot'),
    maxWaitMs: fc.constantFrom(120_000, 120_000, 30_000),
  } as const)
  .map(({ asking: call, ...rest }): Asking => ({ ...call, behind: 0, epoch: 'none', ...rest }));

const crowdedStep: fc.Arbitrary<Step> = oneOf(
  [5, fc.constantFrom(0, 400, 2000, 5000, 12_000, 20_000).map((ms): Step => ({ do: 'advance', ms }))],
  [20, crowding.map((call): Step => ({ do: 'acquire', ...call }))],
  [
    8,
    fc.record({ settling, tokens: fc.constantFrom(0, 1, 2, 5) }).map(({ settling: each, tokens }): Step => ({
      do: 'settle',
      all: [{ ...each, tokens, off: 0, frozenForMs: each.outcome === 'refusedQuota' ? 4000 : null }],
    })),
  ],
  [3, calls.map((call): Step => ({ do: 'cancel', call, keepPlace: true }))],
  [4, upTo(OWNERS).map((owner): Step => ({ do: 'beat', owner, skip: 0 }))],
  [1, settling.map((each): Step => ({ do: 'retry', settling: { ...each, off: 0 } }))],
  [
    1,
    fc.record<Step & { do: 'freeze' }>({
      do: fc.constant('freeze'),
      node: upTo(NODES),
      forMs: fc.constantFrom(null, null, 9000),
    }),
  ],
  [1, fc.record<Step & { do: 'reset' }>({ do: fc.constant('reset'), node: upTo(NODES), limit: upTo(LIMITS) })],
  [1, crowdedShapes.map((shape): Step => ({ do: 'configure', shape, leader: 0, lost: false }))],
  [1, fc.constant<Step>({ do: 'tick' })],
);

export const crowdedSteps: fc.Arbitrary<readonly Step[]> = fc.array(crowdedStep, {
  minLength: 1,
  maxLength: 90,
  size: 'max',
});
