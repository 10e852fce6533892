/** Histories that failed once, shrunk; the engine must do as the model in each, and in the end nobody waits. */
import { expect, test } from 'vitest';
import { live, useTwins } from './histories.ts';
import type { Shape } from './shapes.ts';
import type { Asking, Settling, Step } from './steps.ts';

const fresh = useTwins();

const PLAIN: Shape = {
  concurrency: null,
  teamConcurrency: null,
  adaptive: 'no',
  breaker: false,
  intervalUs: null,
  burst: 1,
  modelRate: false,
  windows: [],
  childAmount: 0,
  shared: false,
  guaranteed: null,
  childUnder: 'account',
  stops: [],
  weights: [1, 1],
  maxClass: 'System',
  observe: 'nobody',
  maxQueue: [null, null],
  perCall: null,
  thresholds: false,
  scopes: 'none',
  routed: true,
  renamed: false,
  boundaries: 1,
};
const asking = (rest: Partial<Asking> = {}): Asking => ({
  owner: 0,
  leaf: 0,
  model: 0,
  tokens: 0,
  behind: 0,
  epoch: 'known',
  class: 'Normal',
  flow: 0,
  tool: 0,
  user: 0,
  mode: 'UntilWindow',
  maxWaitMs: 120_000,
  place: null,
  ...rest,
});
const asks = (rest: Partial<Asking> = {}): Step => ({ do: 'acquire', ...asking(rest) });
const DONE: Settling = {
  call: 0,
  outcome: 'completed',
  tokens: 0,
  sentAfterMs: null,
  firstByteAfterMs: null,
  off: 0,
  holdMs: 0,
  frozenForMs: null,
};

const histories: Readonly<Record<string, { readonly first: Shape; readonly steps: readonly Step[] }>> = {
  'somebody else asks for a call that was reclaimed, and waits for it (380967645)': {
    first: PLAIN,
    steps: [
      asks(),
      {
        do: 'configure',
        shape: { ...PLAIN, windows: [{ kind: 0, amount: 5 }], childAmount: 10 },
        leader: 0,
        lost: false,
      },
      asks(),
      asks(),
      { do: 'swap', settling: DONE, asking: asking() },
      asks({ owner: 1 }),
      { do: 'reclaim', prefix: 0, except: null },
      asks(),
      { do: 'again', call: 10, owner: 0 },
      asks({ class: 'High' }),
    ],
  },
  'a tree that lost its memory knows from its checkpoint how far a rate was used ahead (382145161)': {
    first: { ...PLAIN, intervalUs: 1500 },
    steps: [asks(), { do: 'wipe' }, { do: 'configure', shape: { ...PLAIN, intervalUs: 1500 }, leader: 0, lost: true }],
  },
};

test.each(Object.entries(histories))('%s', async (_name, { first, steps }) => {
  const twin = fresh();
  await live(twin, first, steps);
  expect(twin.model.tree.room.waiters).toEqual([]);
});
