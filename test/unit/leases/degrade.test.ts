import { describe, expect, test } from 'vitest';
import type { NodeSnapshot } from '#sidecar/engine/terms.ts';
import { decideLocal, GRACE_MS, type LocalView, partOf } from '#sidecar/leases/degrade.ts';
import { NO_AMOUNTS } from '#sidecar/leases/tally.ts';

const NOW = 1_800_000_000_000;
const share = { policy: 'LocalShare', localSharePercent: 50, maxDurationMs: 300_000 } as const;
const reserve = { ...NO_AMOUNTS, requests: 1, inputTokens: 1000 };
const account: NodeSnapshot = {
  name: 'account',
  inFlight: 0,
  concurrency: 4,
  stopped: false,
  queued: 0,
  frozenUntilMs: null,
  breaker: 'Closed',
  rateWaitUs: 0,
  oldestWaiterMs: null,
  usage: [],
};
const window = {
  limit: 'five-hour',
  resource: 'Requests',
  amount: 100,
  used: 70,
  reserved: 10,
  resetsAtMs: null,
} as const;
const view: LocalView = {
  nodes: [account],
  owners: 1,
  luck: 0,
  running: () => 0,
  spent: NO_AMOUNTS,
  nowMs: NOW,
};
const decide = (change: Partial<LocalView> = {}, downForMs = GRACE_MS) =>
  decideLocal(share, downForMs, reserve, { ...view, ...change });

describe('F4 while Redis is away', () => {
  test('Closed starts nothing', () => {
    expect(decideLocal({ ...share, policy: 'Closed' }, 60_000, reserve, view)).toBe('closed');
  });

  test.each(['LocalShare', 'Open'] as const)(
    '%s starts nothing before the grace is over, nor past its time',
    (policy) => {
      const at = (downForMs: number) => decideLocal({ ...share, policy }, downForMs, reserve, view);
      expect([at(GRACE_MS - 1), at(GRACE_MS), at(299_999), at(300_000)]).toEqual(['wait', 'start', 'start', 'closed']);
    },
  );

  test('Open starts whatever the limits', () => {
    const full = { ...view, running: () => 99, nodes: [{ ...account, stopped: true }] };
    expect(decideLocal({ ...share, policy: 'Open' }, GRACE_MS, reserve, full)).toBe('start');
  });

  test('LocalShare without a look at the tree starts nothing', () => {
    expect(decide({ nodes: null })).toBe('closed');
  });

  test('LocalShare starts calls up to its part of a concurrency limit', () => {
    expect(decide({ running: () => 1 })).toBe('start');
    expect(decide({ running: () => 2 })).toBe('wait');
  });

  test('the narrowest node of the path decides', () => {
    const leaf = { ...account, name: 'quota:a/b', concurrency: 2 };
    const running = (node: string) => (node === leaf.name ? 1 : 0);
    expect(decide({ nodes: [leaf, account], running })).toBe('wait');
  });

  test.each([
    ['stopped', { stopped: true }],
    ['frozen', { frozenUntilMs: NOW + 1 }],
    ['behind an open breaker', { breaker: 'Open' }],
  ] as const)('a node that was %s starts nothing', (_, change) => {
    expect(decide({ nodes: [{ ...account, ...change }] })).toBe('wait');
  });

  test('a freeze that is over holds nothing', () => {
    expect(decide({ nodes: [{ ...account, frozenUntilMs: NOW }] })).toBe('start');
  });

  test('a window is spent up to the part of what was left in it', () => {
    const nodes = [{ ...account, usage: [window] }];
    expect(decide({ nodes, spent: { ...NO_AMOUNTS, requests: 9 } })).toBe('start');
    expect(decide({ nodes, spent: { ...NO_AMOUNTS, requests: 10 } })).toBe('wait');
  });

  test('a window whose end has passed counts as empty', () => {
    const nodes = [{ ...account, usage: [{ ...window, resetsAtMs: NOW }] }];
    expect(decide({ nodes, spent: { ...NO_AMOUNTS, requests: 49 } })).toBe('start');
    expect(decide({ nodes, spent: { ...NO_AMOUNTS, requests: 50 } })).toBe('wait');
  });

  test('an overdrawn window starts nothing', () => {
    expect(decide({ nodes: [{ ...account, usage: [{ ...window, used: 200 }] }] })).toBe('wait');
  });
});

describe('F4 the part of an owner', () => {
  test('below one is one for as many owners as the share is worth', () => {
    const owners = 40;
    const lucks = Array.from({ length: 1000 }, (_, index) => index / 1000);
    const slots = lucks.map((luck) => partOf(4, { percent: 50, owners, luck }));
    expect(slots.reduce((sum, each) => sum + each, 0) / lucks.length).toBeCloseTo((4 * 0.5) / owners, 3);
    expect(new Set(slots)).toEqual(new Set([0, 1]));
  });

  test('of nothing is nothing, whatever the luck', () => {
    expect(partOf(-5, { percent: 100, owners: 1, luck: 0.999 })).toBe(0);
  });
});
