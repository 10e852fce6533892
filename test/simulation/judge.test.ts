/** Whether the oracles see anything: one thing is broken at a time, and a run of some class has to turn red. */
import { expect, test } from 'vitest';
import type { Model } from '#sidecar/engine/model.ts';
import type { NodeConfig } from '#sidecar/engine/tree-terms.ts';
import { type Fault, noise } from './faults.ts';
import { run, type Sabotage, type Scenario } from './run.ts';
import * as pods from './scenarios.ts';
import * as store from './store-scenarios.ts';
import * as tree from './tree-scenarios.ts';
import { METER } from './tree.ts';

const ALL: Readonly<Record<string, Scenario>> = { ...pods, ...store, ...tree };

/** Among so many a break has to be noticed. */
const SEEDS = 40;

interface Break extends Sabotage {
  readonly what: string;
  readonly scenario: Scenario;
  readonly says: RegExp;
}

const BREAKS: readonly Break[] = [
  {
    what: 'T3 a gap after which nobody is spared',
    scenario: pods.clockSteps,
    says: /inv-I1/,
    model: ({ clock }) => Object.defineProperty(clock, 'afterGap', { get: () => false }),
  },
  {
    what: 'T7 granting at once after everything was lost',
    scenario: store.totalLoss,
    says: /inv-I1/,
    model: ({ tree: { leases } }) => Object.defineProperty(leases, 'learningUntilMs', { get: () => null }),
  },
  {
    what: 'T7 registering without what still runs',
    scenario: store.totalLoss,
    says: /inv-I1/,
    engine: (engine) => ({ ...engine, register: (request) => engine.register({ ...request, leases: [] }) }),
  },
  {
    what: 'T2 starting without a claim',
    scenario: pods.longStops,
    says: /inv-I1|T2/,
    engine: (engine) => ({ ...engine, claim: async () => true }),
  },
  {
    what: 'T4 forgetting settlements that come late',
    scenario: pods.longStops,
    says: /inv-I5/,
    model: ({ tree: { leases } }) => {
      const find = leases.find.bind(leases);
      leases.find = (id) => (find(id)?.live === true ? find(id) : undefined);
    },
  },
  { what: 'a refund that is given twice', scenario: tree.hiddenLimits, says: /inv-I5/, model: refundTwice },
  {
    what: 'inv-I6 forgetting which ids are done with',
    scenario: storm(),
    says: /inv-I6/,
    model: ({ tree: { leases } }) => Object.assign(leases, { isDone: () => false }),
  },
  {
    what: 'inv-L5 never taking back what dead pods hold',
    scenario: pods.crashes,
    says: /inv-L5/,
    model: ({ tree: { leases } }) => Object.assign(leases, { due: () => [] }),
  },
  {
    what: 'T6 a hold that nobody ends',
    scenario: pods.crashes,
    says: /inv-I2/,
    model: ({ tree: { leases } }) => Object.assign(leases, { hold: () => undefined }),
  },
  {
    what: 'T6 a slot handed on while the vendor counts its cut call, with clocks that are set,',
    scenario: pods.skew,
    says: /inv-I1/,
    model: ({ tree: { leases } }) => {
      const hold = leases.hold.bind(leases);
      leases.hold = (each) => hold({ ...each, untilMs: each.untilMs - 1500 });
    },
  },
  {
    what: 'Q6 waking nobody',
    scenario: pods.undisturbed,
    says: /inv-L2/,
    model: ({ tree: { room } }) => Object.assign(room, { wake: () => undefined }),
  },
  {
    what: 'a sidecar that gives nothing back',
    scenario: pods.undisturbed,
    says: /inv-L2/,
    engine: (engine) => ({ ...engine, cancel: async () => undefined }),
  },
  { what: 'N4 a lowered amount that is not held', scenario: tree.limitChanges, says: /inv-I3/, model: keepAmounts },
  { what: 'N6 an amount that goes on being observed', scenario: tree.observing, says: /inv-I3/, model: observeOn },
  {
    what: 'a freeze that does nothing',
    scenario: tree.freezes,
    says: /frozen/,
    model: (model) => Object.assign(model, { freeze: () => undefined }),
  },
];

/** Every message may come twice, late and after those that were sent later. */
function storm(): Scenario {
  const weather = { drop: 0.05, double: 0.5, late: 0.5, lateByMs: 1500 };
  const faults = (_: unknown, sidecars: number): readonly Fault[] =>
    Array.from({ length: sidecars }, (__, index) => noise({ atMs: 5000, lastsMs: 50_000 }, index, weather));
  return { ...pods.lossyNetwork, faults };
}

test.each(BREAKS)('$what is noticed', async ({ scenario, says, what: _what, ...sabotage }) => {
  expect(await firstViolation(scenario, sabotage)).toMatch(says);
});

/** The same seed is the same history, to the last message. */
test.each(Object.entries(ALL))('%s: a seed tells the same twice', async (_name, scenario) => {
  const digestOf = async (seed: number): Promise<string> =>
    (await run(scenario, { seed, only: null, aloud: false })).trace.digest();
  const first = await digestOf(7);
  expect(await digestOf(8)).not.toBe(first);
  expect(await digestOf(7)).toBe(first);
});

async function firstViolation(scenario: Scenario, sabotage: Sabotage): Promise<string> {
  for (let seed = 1; seed <= SEEDS; seed++) {
    const { violation } = await run(scenario, { seed, only: null, aloud: false, sabotage });
    if (violation !== null) return `${violation.rule}, seed ${seed}: ${violation.numbers}`;
  }
  return 'nothing';
}

/** Of each limit the most that it ever was goes on. */
function keepAmounts({ tree: model }: Model): void {
  const most = new Map<string, number>();
  alterNodes(model, (node) => ({
    ...node,
    limits: node.limits.map((limit) => {
      const key = `${node.name}|${limit.name}`;
      most.set(key, Math.max(most.get(key) ?? 0, limit.amount));
      return { ...limit, amount: most.get(key)! };
    }),
  }));
}

/** What holds calls in flight is enforced; only windows are not. */
function observeOn({ tree: model }: Model): void {
  let wasObserved = false;
  alterNodes(model, (node) => {
    if (node.name !== 'quota:a/team') return node;
    wasObserved ||= node.observe;
    return wasObserved ? { ...node, limits: node.limits.map((limit) => ({ ...limit, amount: 1000 })) } : node;
  });
}

/** The engine works with other nodes than it was configured with. */
function alterNodes(model: Model['tree'], alter: (node: NodeConfig) => NodeConfig): void {
  let { configs } = model;
  Object.defineProperty(model, 'configs', {
    get: () => configs,
    set: (next: typeof configs) => {
      configs = new Map([...next].map(([name, node]) => [name, alter(node)]));
    },
  });
}

function refundTwice(model: Model): void {
  const settle = model.swap.bind(model);
  model.swap = (settlement, ...rest) => {
    const reply = settle(settlement, ...rest);
    const meters = [...model.tree.node('account').windows].filter(([key]) => key.startsWith(`${METER}|`));
    for (const [, window] of settlement.outcome === 'refusedConcurrency' ? meters : [])
      if (window.kind === 'meter') window.correct(-1, window.placeAt(model.tree.now), model.tree.now);
    return reply;
  };
}
